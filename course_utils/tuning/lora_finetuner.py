"""Chapter 4 - Fine-tuners: LoRA and QLoRA on a published model, by the libraries.

``lora`` and ``nf4`` show how it works; these classes are what a project would use: peft puts the
corrections in, bitsandbytes holds the 4-bit weights, ``Trainer`` trains, and everything around
them is done as it should be: checked roles, labels on the replies only, ends learned, a warm-up
that fits the number of steps, a precision that fits the device, adapters that load again.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from course_utils import config
from course_utils.tuning.instructions import DEFAULT_TOKENIZER, IGNORED, InstructionDatasetBuilder
from course_utils.tuning.packing import collate
from course_utils.tuning.surgery import parameter_counts

if TYPE_CHECKING:
    from datasets import Dataset

# which matrices of an architecture get corrections when nothing else is said: queries and values
TARGETS = {
    "llama": ["q_proj", "v_proj"],
    "gpt2": [r"attn.c_attn"],  # not c_proj: the MLP has one too, and would be adapted with it
    "gpt_neox": ["query_key_value"],
    "bert": ["query", "value"],
}


class LoRAFineTuner:
    """Teach a causal language model conversations, through low-rank corrections.

    ``setup_lora_model`` → ``prepare_dataset`` → ``fine_tune`` → ``generate_response``.

    Args:
        model_name: a folder or a Hub id; by default the bundled SmolLM2.
        dtype: of the frozen weights; by default float32 on a CPU and what the device computes
            fastest elsewhere. The corrections are float32 in any case.
        seed: of the corrections' first values, the order of the data and sampled replies.

    Source: Hu et al. 2021, "LoRA", section 4.
    """

    def __init__(
        self,
        model_name: str | Path | None = None,
        *,
        dtype: torch.dtype | None = None,
        max_length: int = 512,
        seed: int = 0,
    ) -> None:
        from transformers import AutoTokenizer

        if model_name is None:
            from course_utils import assets

            model_name = assets.path(DEFAULT_TOKENIZER)
        self.model_name = str(model_name)
        self.tokenizer = AutoTokenizer.from_pretrained(self.model_name)
        self.builder = InstructionDatasetBuilder(self.tokenizer, max_length=max_length)
        self.device, self.seed = config.device(), seed
        on_cpu = self.device == "cpu"
        self.dtype = dtype or (torch.float32 if on_cpu else config.compute_dtype())
        self.model: nn.Module | None = None

    @property
    def pad_id(self) -> int:
        """What fills short rows; the end token where there is no other (it is masked by place)."""
        own = self.tokenizer.pad_token_id
        return self.tokenizer.eos_token_id if own is None else own

    def setup_lora_model(self, lora_config: Any = None) -> nn.Module:
        """Load the base model and put corrections on it.

        Args:
            lora_config: a ``peft.LoraConfig``; by default r = 8, alpha = 16, dropout 0.05 on
                queries and values.

        Returns:
            the peft model.

        Raises:
            ValueError: no default targets are known for the architecture.
        """
        return self._adapt(self._load_base(), lora_config)

    def parameter_counts(self) -> tuple[int, int]:
        """(trainable, all) numbers in the model."""
        return parameter_counts(self._ready())

    def prepare_dataset(self, conversations: Sequence[Sequence[Mapping] | Mapping]) -> Dataset:
        """Conversations as rows to train on: see :class:`InstructionDatasetBuilder`."""
        return self.builder.build(conversations)

    def fine_tune(
        self,
        dataset: Dataset,
        output_dir: str | Path = "./lora_model",
        *,
        epochs: float = 3,
        max_steps: int = -1,
        batch_size: int = 4,
        accumulation: int = 1,
        learning_rate: float = 2e-4,
        warm_up: float = 0.1,
    ) -> list[float]:
        """Train the corrections and store them.

        Args:
            dataset: from :meth:`prepare_dataset`.
            output_dir: gets adapter_config.json, adapter_model.safetensors and the tokenizer.
            epochs: passes over the data; ``max_steps``, if positive, counts updates instead.
            batch_size, accumulation: rows of one product, and products of one update.
            learning_rate: the highest; it rises for the share ``warm_up`` of the real number of
                updates and then falls to zero in a straight line.

        Returns:
            the loss of every update.
        """
        steps = max_steps if max_steps > 0 else _updates(dataset, batch_size, accumulation, epochs)
        trainer = self._trainer(
            dataset,
            output_dir=str(output_dir),
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            learning_rate=learning_rate,
            warmup_steps=math.ceil(warm_up * steps),
        )
        trainer.train()
        self.save(output_dir)
        return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]

    def save(self, folder: str | Path) -> Path:
        """Store corrections and tokenizer in a folder."""
        self._ready().save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        return Path(folder)

    def load_adapter(self, folder: str | Path) -> nn.Module:
        """Load the base model anew and put stored corrections on it (frozen)."""
        from peft import PeftModel

        self.model = PeftModel.from_pretrained(self._load_base(), folder).eval()
        return self.model

    def merge(self) -> nn.Module:
        """Fold the corrections in; the model is then a plain one, without peft."""
        self.model = self._ready().merge_and_unload()
        return self.model

    @torch.no_grad()
    def evaluate(self, dataset: Dataset, batch_size: int = 4) -> dict[str, float]:
        """Mean loss over the learned tokens of a data set, in nats, and its exponential."""
        model, total, count = self._ready().eval(), 0.0, 0
        for start in range(0, len(dataset), batch_size):
            rows = [dataset[i] for i in range(start, min(start + batch_size, len(dataset)))]
            batch = {k: v.to(self.device) for k, v in collate(rows, self.pad_id).items()}
            learned = int((batch["labels"][:, 1:] != IGNORED).sum())
            total += model(**batch).loss.item() * learned
            count += learned
        return {"loss": total / count, "perplexity": math.exp(total / count)}

    @torch.no_grad()
    def generate_response(
        self,
        prompt: str | Sequence[Mapping],
        max_length: int = 100,
        *,
        temperature: float = 0.0,
        top_p: float = 1.0,
    ) -> str:
        """The model's reply to a question, and nothing but the reply.

        Args:
            prompt: the user's words, or a conversation that ends with the user's turn.
            max_length: the most new tokens; the prompt is not counted.
            temperature: 0 takes the likeliest token each time; above 0 samples.
            top_p: sample from the likeliest tokens that hold this share of the probability.
        """
        model = self._ready().eval()
        ids = torch.tensor([self.builder.prompt_ids(_turns(prompt))], device=self.device)
        how = {"do_sample": temperature > 0}
        if temperature > 0:
            how |= {"temperature": temperature, "top_p": top_p}
            torch.manual_seed(self.seed)
        new = model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=max_length,
            pad_token_id=self.pad_id,
            eos_token_id=self.tokenizer.eos_token_id,
            **how,
        )[0, ids.shape[1] :]
        return self.tokenizer.decode(new, skip_special_tokens=True).strip()

    def _load_base(self) -> nn.Module:
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(self.model_name, dtype=self.dtype)
        return model.to(self.device)

    def _adapt(self, model: nn.Module, lora_config: Any) -> nn.Module:
        from peft import get_peft_model

        torch.manual_seed(self.seed)
        self.model = get_peft_model(model, lora_config or self.default_config(model))
        return self.model

    def default_config(self, model: nn.Module, **changes: Any) -> Any:
        """The ``peft.LoraConfig`` that is used when none is given."""
        from peft import LoraConfig

        kind = model.config.model_type
        if kind not in TARGETS and "target_modules" not in changes:
            raise ValueError(f"no default targets for {kind!r}: pass a LoraConfig with them")
        chosen = {
            "task_type": "CAUSAL_LM",
            "r": 8,
            "lora_alpha": 16,
            "lora_dropout": 0.05,
            "target_modules": TARGETS.get(kind),
            "fan_in_fan_out": kind == "gpt2",
        }
        return LoraConfig(**chosen | changes)

    def _trainer(self, dataset: Dataset, **options: Any) -> Any:
        from transformers import PrinterCallback, Trainer, TrainingArguments

        arguments = TrainingArguments(
            lr_scheduler_type="linear",
            logging_steps=1,
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            seed=self.seed,
            use_cpu=self.device == "cpu",
            **options,
        )
        trainer = Trainer(
            model=self._ready(),
            args=arguments,
            train_dataset=dataset,
            data_collator=partial(collate, pad_id=self.pad_id),
            processing_class=self.tokenizer,
        )
        trainer.remove_callback(PrinterCallback)  # a line per update; the losses are returned
        return trainer

    def _ready(self) -> nn.Module:
        if self.model is None:
            raise RuntimeError("no model yet: call setup_lora_model or load_adapter first")
        return self.model


class QLoRAFineTuner(LoRAFineTuner):
    """The same, with the frozen weights in NF4 and double quantisation (bitsandbytes).

    ``setup_quantized_model`` takes the place of ``setup_lora_model``. It works on a CPU too. On
    a small model it saves weights' memory and not peak memory, which activations decide.

    Args:
        model_name, dtype, max_length, seed: see :class:`LoRAFineTuner`; ``dtype`` is what
            products are computed in.
        checkpointing: forget activations and compute them again going back: slower, smaller.

    Source: Dettmers et al. 2023, "QLoRA", section 3.
    """

    def __init__(
        self, model_name: str | Path | None = None, *, checkpointing: bool = False, **options: Any
    ) -> None:
        super().__init__(model_name, **options)
        self.checkpointing = checkpointing

    def setup_quantized_model(self, lora_config: Any = None) -> nn.Module:
        """Load the base model in 4 bits and put corrections on it.

        Args:
            lora_config: a ``peft.LoraConfig``; by default r = 8, alpha = 16 on every matrix of
                the blocks (section 4 of the paper: all of them are needed to reach full
                fine-tuning).
        """
        from peft import prepare_model_for_kbit_training

        model = prepare_model_for_kbit_training(
            self._load_base(),
            use_gradient_checkpointing=self.checkpointing,
            gradient_checkpointing_kwargs={"use_reentrant": False},
        )
        if lora_config is None:
            lora_config = self.default_config(model, target_modules="all-linear")
        return self._adapt(model, lora_config)

    def setup_lora_model(self, lora_config: Any = None) -> nn.Module:
        """Another name of :meth:`setup_quantized_model`."""
        return self.setup_quantized_model(lora_config)

    def merge(self) -> nn.Module:
        """Fold the corrections into the dequantised matrices: a plain model, no longer in 4 bits.

        peft would round every sum to 4 bits once more, and most of a small correction with it.
        """
        from peft import PeftModel

        with tempfile.TemporaryDirectory() as folder:
            self._ready().save_pretrained(folder)
            plain = self._load_base().dequantize()
            self.model = PeftModel.from_pretrained(plain, folder).merge_and_unload()
        return self.model

    def _load_base(self) -> nn.Module:
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        config.quiet_libraries()  # bitsandbytes advises on kernels at its first import
        how = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=self.dtype,
        )
        model = AutoModelForCausalLM.from_pretrained(
            self.model_name,
            quantization_config=how,
            dtype=self.dtype,
            device_map={"": self.device},
        )
        return _keep_format(model)


def _updates(dataset: Dataset, batch_size: int, accumulation: int, epochs: float) -> int:
    """Updates in so many passes over the data: warm-up is a share of them, not a fixed number."""
    return max(1, math.ceil(epochs * math.ceil(len(dataset) / (batch_size * accumulation))))


def _turns(prompt: str | Sequence[Mapping]) -> Sequence[Mapping]:
    """A question as a conversation; the old form "Human: …\\nAssistant:" is read too."""
    if not isinstance(prompt, str):
        return prompt
    old = re.fullmatch(r"Human: (.*)\nAssistant:\s*", prompt, flags=re.DOTALL)
    return [{"role": "user", "content": old[1] if old else prompt}]


def _keep_format(model: nn.Module) -> nn.Module:
    """Stop bitsandbytes from repacking weights at the first answer (CPUs with bfloat16 units).

    Its faster format for inference replaces the stored numbers: scales rounded to bfloat16, and
    no backward pass. A model that is measured and then trained on must keep its own.
    """
    for layer in model.modules():
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return model
