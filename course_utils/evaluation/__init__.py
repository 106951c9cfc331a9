"""Evaluation: metrics, their uncertainty, benchmark protocols, and where each misleads.

Read the files in this order; lesson 04_llms/13_evaluation uses all of them.

``bleu`` ``chrf`` ``rouge``  overlap of n-grams with reference texts
``answers``                  exact match and token F1 of short answers, pass@k of programs
``classification``           precision, recall, F1, agreement beyond chance
``calibration``              are the probabilities true? bins, expected error, temperature
``bertscore``                overlap of token vectors instead of tokens
``intervals``                standard errors, bootstrap, coverage: how sure is one number?
``significance``             paired bootstrap and tests: is the difference more than chance?
``perplexity``               token-level, sliding window, bits per byte
``choices``                  multiple choice by log-likelihood, three normalisations
``benchmarks``               GLUE, SQuAD, MMLU and HELM: how their one number is made
``contamination``            was the test set in the training text?
``judging``                  a model as judge: position, length and self preference
``ratings``                  Bradley-Terry ratings from judged pairs
``uncertainty``              semantic entropy and AUROC: does the model know that it guesses?

Import what you need from the file that owns it.
"""
