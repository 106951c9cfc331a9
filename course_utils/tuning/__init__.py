"""Tuning: finished models taught something new with few trainable numbers.

Read the files in this order; each one adds one idea to those before it.

``surgery``         find layers by name, exchange them, freeze      lesson 04_llms/07
``lora``            a low-rank correction beside each matrix        lesson 04_llms/07
``lora_files``      store and load corrections in peft's format     lesson 04_llms/07
``lora_variants``   PiSSA, VeRA and DoRA, one small change each     lesson 04_llms/07
``merging``         several corrections made one: TIES, DARE        lesson 04_llms/07
``nf4``             4-bit weights, double quantisation, QLoRA       lesson 04_llms/07
``memory``          what training keeps, computed and measured      lesson 04_llms/07
``adapters``        bottlenecks behind a model's layers             lesson 04_llms/07
``prompt_tuning``   trained vectors in front of the text            lesson 04_llms/07
``conversations``   turns with checked roles, splits                lesson 04_llms/06
``instructions``    chat template, labels on the replies only       lesson 04_llms/06
``packing``         padded and packed batches, the loss             lesson 04_llms/06
``constraints``     instructions that a program can check           lesson 04_llms/06
``languages``       which of five languages a short text is in      lesson 04_llms/06
``sft``             replies learned in packed rows, by any method   lesson 04_llms/06
``synthetic``       instructions written by a model, and filters    lesson 04_llms/06
``lora_finetuner``  LoRA and QLoRA by peft and bitsandbytes         lesson 04_llms/07
``preferences``     DPO, IPO, KTO, ORPO, SimPO: one loss            lesson 04_llms/08
``preference_training``  that loss on rows of ids, reference kept   lesson 04_llms/08
``reward_model``    one number for a text, from judgements          lesson 04_llms/08
``policy_gradient`` REINFORCE, PPO's clip, KL and its price         lesson 04_llms/08
``rlhf``            sample, score, pay, update: the loop            lesson 04_llms/08
``constitution``    critique and revision by written principles     lesson 04_llms/08

The names below are what a lesson or project needs; everything else is imported from its file.
Nothing heavier than torch is loaded before a class or function needs it.
"""

from course_utils.tuning.adapters import inject_adapters, remove_adapters
from course_utils.tuning.constitution import critique_and_revise
from course_utils.tuning.constraints import check_constraint, compliance
from course_utils.tuning.conversations import split_conversations
from course_utils.tuning.instructions import InstructionDatasetBuilder
from course_utils.tuning.lora import (
    LoRALinear,
    inject_lora,
    lora_layers,
    lora_parameters,
    merge_lora,
    unload_lora,
    unmerge_lora,
    without_lora,
)
from course_utils.tuning.lora_files import load_lora, load_lora_state, lora_state, save_lora
from course_utils.tuning.lora_finetuner import LoRAFineTuner, QLoRAFineTuner
from course_utils.tuning.nf4 import NF4Linear, dequantize_linears, quantize_linears, quantize_nf4
from course_utils.tuning.packing import collate, collate_packed, next_token_loss, pack
from course_utils.tuning.policy_gradient import ppo_loss, reinforce_loss
from course_utils.tuning.preference_training import PairSet, train_on_pairs
from course_utils.tuning.preferences import dpo_loss
from course_utils.tuning.prompt_tuning import PromptTuned, SoftPrompt
from course_utils.tuning.reward_model import RewardModel, bradley_terry_loss
from course_utils.tuning.rlhf import train_policy
from course_utils.tuning.surgery import parameter_counts

__all__ = [
    "InstructionDatasetBuilder",
    "LoRAFineTuner",
    "LoRALinear",
    "NF4Linear",
    "PairSet",
    "PromptTuned",
    "QLoRAFineTuner",
    "RewardModel",
    "SoftPrompt",
    "bradley_terry_loss",
    "check_constraint",
    "collate",
    "collate_packed",
    "compliance",
    "critique_and_revise",
    "dequantize_linears",
    "dpo_loss",
    "inject_adapters",
    "inject_lora",
    "load_lora",
    "load_lora_state",
    "lora_layers",
    "lora_parameters",
    "lora_state",
    "merge_lora",
    "next_token_loss",
    "pack",
    "parameter_counts",
    "ppo_loss",
    "quantize_linears",
    "quantize_nf4",
    "reinforce_loss",
    "remove_adapters",
    "save_lora",
    "split_conversations",
    "train_on_pairs",
    "train_policy",
    "unload_lora",
    "unmerge_lora",
    "without_lora",
]
