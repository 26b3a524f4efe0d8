"""The pipeline's side of adapters: load, weigh, fuse and unload them, as diffusers' pipelines do."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers.loaders.lora_base import LORA_WEIGHT_NAME_SAFE, LoraBaseMixin
from diffusers.loaders.lora_pipeline import CogVideoXLoraLoaderMixin
from safetensors import SafetensorError
from torch import Tensor

from models.lora import check_lora
from utils.errors import UserError

COMPONENT = "denoiser"
"""What adapters are added to; their tensors' names begin with it in a file."""
LOADER_OPTIONS = (
    "weight_name", "subfolder", "return_lora_metadata", "use_safetensors", "cache_dir", "force_download",
    "proxies", "local_files_only", "token", "revision",
)  # fmt: skip


class LoraLoaderMixin(LoraBaseMixin):
    """What a pipeline with adapters of its denoiser has beyond diffusers' `LoraBaseMixin`."""

    _lora_loadable_modules = [COMPONENT]  # noqa: RUF012
    denoiser: Any

    def load_lora_weights(
        self,
        pretrained_model_name_or_path_or_dict: str | Path | Mapping[str, Tensor],
        adapter_name: str | None = None,
        hotswap: bool = False,
        low_cpu_mem_usage: bool = False,
        **kwargs: Any,
    ) -> None:
        """Add an adapter, which then counts in full; `set_adapters` weighs it, `unload_lora_weights` ends it.

        Args:
            pretrained_model_name_or_path_or_dict: a safetensors file, a folder that holds
                pytorch_lora_weights.safetensors, or the tensors by name; written by `save_lora_weights` or
                by the denoiser's `save_lora_adapter`.
            adapter_name: to tell several from each other.
            hotswap: whether it replaces the adapter of this name, in place.
            low_cpu_mem_usage: whether no random weights are drawn for it first.
            kwargs: of `lora_state_dict`.

        Raises:
            UserError: there is no adapter, it was made for another model, or it holds NaN or infinity.
        """
        given = pretrained_model_name_or_path_or_dict
        source = "what was given" if isinstance(given, Mapping) else str(given)
        if not isinstance(given, Mapping) and not Path(given).exists():
            raise UserError(
                f"there is no file or folder {source}; give a folder that holds {LORA_WEIGHT_NAME_SAFE}, "
                "or the file"
            )
        try:
            tensors, metadata = self.lora_state_dict(given, return_lora_metadata=True, **kwargs)
        except UserError:
            raise
        except (OSError, ValueError, SafetensorError) as error:
            raise UserError(
                f"cannot read a LoRA from {source}: {' '.join(str(error).split())[:200]}; give a folder that "
                f"holds {LORA_WEIGHT_NAME_SAFE}, or the file"
            ) from error
        own = {name.removeprefix(f"{COMPONENT}."): tensor for name, tensor in tensors.items()}
        check_lora(self.denoiser, own, source)
        settings = {name.removeprefix(f"{COMPONENT}."): value for name, value in (metadata or {}).items()}
        if "target_modules" not in settings:  # told by the tensors' names
            settings = {}
        self.denoiser.load_lora_adapter(
            own,
            prefix=None,
            adapter_name=adapter_name,
            metadata=settings or None,
            hotswap=hotswap,
            low_cpu_mem_usage=low_cpu_mem_usage,
            _pipeline=self,
        )

    @classmethod
    def lora_state_dict(cls, source: str | Path | Mapping[str, Tensor], **kwargs: Any) -> Any:
        """Read an adapter's tensors by name; pickled files are not read.

        Args:
            source: see `load_lora_weights`.
            kwargs: `weight_name` and `subfolder` of the file in the folder; `return_lora_metadata`, whether
                to return the adapter's settings as well; and what diffusers' loaders take for downloads.

        Raises:
            UserError: another argument, or `use_safetensors=False`.
        """
        if unknown := kwargs.keys() - LOADER_OPTIONS:
            raise UserError(
                f"a LoRA is loaded without {', '.join(sorted(unknown))}; the options are hotswap, "
                f"low_cpu_mem_usage, {', '.join(LOADER_OPTIONS)}"
            )
        if kwargs.pop("use_safetensors", None) is False:
            raise UserError(
                "use_safetensors is False, but a LoRA is read from safetensors only; leave it out"
            )
        if isinstance(source, Mapping):
            source = dict(source)
        else:
            if Path(source).is_file():
                source, kwargs["weight_name"] = Path(source).parent, Path(source).name
            name = kwargs.setdefault("weight_name", LORA_WEIGHT_NAME_SAFE)
            if not name.endswith(".safetensors"):
                raise UserError(f"{name} is no safetensors file, and a LoRA is read from no other; give one")
            source = str(source)
        return CogVideoXLoraLoaderMixin.lora_state_dict(source, use_safetensors=True, **kwargs)

    def save_pretrained(self, save_directory: str | Path, *args: Any, **kwargs: Any) -> None:
        """Save all parts, as diffusers' pipelines do.

        Raises:
            UserError: an adapter is loaded; what would be written could not be loaded.
        """
        if getattr(self.denoiser, "peft_config", None):
            raise UserError(
                "the pipeline has adapters, which its folder cannot hold; call unload_lora_weights() first, "
                "or fuse_lora() and then unload_lora_weights() to keep what they changed"
            )
        super().save_pretrained(save_directory, *args, **kwargs)  # type: ignore[misc]

    @classmethod
    def save_lora_weights(
        cls,
        save_directory: str | Path,
        denoiser_lora_layers: Mapping[str, Tensor],
        weight_name: str | None = None,
        denoiser_lora_adapter_metadata: dict[str, Any] | None = None,
    ) -> None:
        """Write an adapter as diffusers' pipelines do, by default as pytorch_lora_weights.safetensors.

        Args:
            save_directory: gets the file.
            denoiser_lora_layers: tensors by name, such as of `models.lora.lora_tensors`.
            weight_name: of the file.
            denoiser_lora_adapter_metadata: the adapter's settings.
        """
        cls._save_lora_weights(
            save_directory=save_directory,
            lora_layers={COMPONENT: dict(denoiser_lora_layers)},
            lora_metadata={COMPONENT: denoiser_lora_adapter_metadata},
            weight_name=weight_name,
        )

    def fuse_lora(
        self,
        components: list[str] | None = None,
        lora_scale: float = 1.0,
        safe_fusing: bool = False,
        adapter_names: list[str] | None = None,
    ) -> None:
        """Add the adapters, times `lora_scale`, to the weights themselves: no step costs more than before."""
        super().fuse_lora(components or [COMPONENT], lora_scale, safe_fusing, adapter_names)

    def unfuse_lora(self, components: list[str] | None = None) -> None:
        """Take back what `fuse_lora` added."""
        super().unfuse_lora(components or [COMPONENT])
