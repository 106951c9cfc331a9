"""Neural networks from scratch: attention, transformers, recurrent nets, real model weights.

Read the files in this order; each one adds one idea to those before it.

``attention``    queries, keys, values, masks, heads            lesson 04_llms/01_attention
``layers``       norms, feed-forward kinds, dropout, residuals  lesson 04_llms/02_transformer
``positions``    sinusoidal, learned, rotary                    lesson 04_llms/02_transformer
``stacks``       block, encoder, decoder, designs               lesson 04_llms/02_transformer
``transformer``  classifier, full encoder-decoder               lesson 04_llms/02_transformer
``counting``     parameters, FLOPs and bytes as formulas        lesson 04_llms/02_transformer
``stream``       documents to rows, batches with a position     lesson 04_llms/05_pretraining
``pretraining``  new models, next-token and masked losses       lesson 04_llms/05_pretraining
``optimizers``   AdamW, decay groups, clipping                  lesson 04_llms/05_pretraining
``schedules``    warm-up and cosine                             lesson 04_llms/05_pretraining
``training``     the loop, checkpoints that resume bit for bit  lesson 04_llms/05_pretraining
``scaling``      power laws with bootstrap                      lesson 04_llms/05_pretraining
``pretrained``   your own models, kept and loaded by name       lesson 04_llms/05_pretraining

One notation in all of them: B batch, T query length, S key length, C model width, H heads,
D head width, V vocabulary. Import what you need from the file that owns it.
"""
