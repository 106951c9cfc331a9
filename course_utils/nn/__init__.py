"""Neural networks from scratch: attention, transformers, recurrent nets, real model weights.

Read the files in this order; each one adds one idea to those before it.

``attention``    queries, keys, values, masks, heads            lesson 04_llms/01_attention
``layers``       norms, feed-forward kinds, dropout, residuals  lesson 04_llms/02_transformer
``positions``    sinusoidal, learned, rotary                    lesson 04_llms/02_transformer
``stacks``       block, encoder, decoder, designs               lesson 04_llms/02_transformer
``transformer``  classifier, full encoder-decoder               lesson 04_llms/02_transformer
``counting``     parameters, FLOPs and bytes as formulas        lesson 04_llms/02_transformer

One notation in all of them: B batch, T query length, S key length, C model width, H heads,
D head width, V vocabulary. Import what you need from the file that owns it.
"""
