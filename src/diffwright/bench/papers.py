"""What the papers' abstracts claim and what the project set out to reach, as bounds on measured figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Bound:
    """A figure that must stay at or above `at_least`, or at or below `at_most`."""

    figure: str
    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a value keeps the bound."""
        return (self.at_least is None or value >= self.at_least) and (
            self.at_most is None or value <= self.at_most
        )

    def __str__(self) -> str:
        return f"at least {self.at_least:g}" if self.at_least is not None else f"at most {self.at_most:g}"


@dataclass(frozen=True)
class Claim:
    """What an abstract claims, in our words, and the figures that decide it here.

    Args:
        text: the claim.
        bench: whose figures decide; empty while no bench measures it.
        bounds: all must hold for "confirmed".
        control: what it is compared with.
        control_figure: figure of the same bench that measures the control.
        scope: how our measurement differs from the paper's.
        premise: bench and figure that must hold for the measurement to mean anything.
    """

    text: str
    bench: str = ""
    bounds: tuple[Bound, ...] = ()
    control: str = ""
    control_figure: str = ""
    scope: str = ""
    premise: tuple[str, Bound] | None = None


@dataclass(frozen=True)
class Paper:
    """A paper and the claims of its abstract."""

    title: str
    source: str
    claims: tuple[Claim, ...]


PAINTS_KINDS = ("t2i", Bound("kind_accuracy", at_least=0.8))
"""Premise of claims that only mean something for a model which paints what it is told."""

PAPERS = (
    Paper(
        "Localizing and Editing Knowledge in Text-to-Image Generative Models (causal tracing, Diff-QuickFix)",
        "Basu et al., ICLR 2024, arXiv 2310.13730",
        (
            Claim(
                "In the UNet, knowledge of an attribute is spread over many components.",
                "trace",
                (Bound("unet_effective_sites", at_least=9),),
                "the same by distance of the latents, at random weights",
                "unet_effective_sites_random",
                "pocket model, 36 layers; a quarter of them is our bound, the abstract names none",
                premise=PAINTS_KINDS,
            ),
            Claim(
                "Different attributes often have different sets of components.",
                "trace",
                (Bound("unet_set_jaccard", at_most=0.5), Bound("unet_set_jaccard_gap", at_least=0.1)),
                "halves of the prompts of one attribute",
                "unet_set_jaccard_same",
                "pocket model, the strongest tenth of the layers, pairs of six attributes; the bounds are ours",
                premise=PAINTS_KINDS,
            ),
            Claim(
                "The CLIP text encoder has one causal state: layer 0 self-attention, last subject token.",
                "trace",
                (Bound("te_attn0_last_share", at_least=0.5), Bound("te_top1_rate", at_least=0.5)),
                "the same by distance of the embeddings, at random weights",
                "te_attn0_last_share_random",
                "pocket model, share of all positive effects; the bounds are ours",
                premise=PAINTS_KINDS,
            ),
            Claim(
                "That is unlike language models, whose causal states are often the MLPs of the middle layers.",
                "trace",
                (Bound("te_mid_mlp_share", at_most=0.1),),
                "the same by distance of the embeddings, at random weights",
                "te_mid_mlp_share_random",
                "pocket model, share of all positive effects; the bound is ours",
                premise=PAINTS_KINDS,
            ),
            Claim(
                "Cross-attention of the UNet is not causally important (in the text of the paper).",
                "trace",
                (Bound("unet_cross_attention_share", at_most=0.1),),
                "the same with the resnets' own contributions in place of their whole outputs",
                "unet_cross_attention_share_branch",
                "pocket model, share of all positive effects of 36 layers; the bound is ours",
                premise=PAINTS_KINDS,
            ),
            Claim(
                "A concept is edited in under a second by a closed-form update.",
                "concepts",
                (Bound("edit_ms_clip_l", at_most=1000),),
                "the path as published, on the same machine; times slower",
                "reference_path_ratio",
                "CLIP ViT-L/14 shapes at random weights, one pair, four templates",
            ),
            Claim(
                "This is 1000 times faster than editing by fine-tuning.",
                "concepts",
                (Bound("finetune_ratio", at_least=1000),),
                "anchor matching for a hundred steps, over ours",
                "anchor_ratio",
                "pocket model, ESD-type eraser, the best of three learning rates, until it first does as well as ours",
            ),
            Claim(
                "The edit works, without data.",
                "concepts",
                (Bound("efficacy", at_least=0.7), Bound("unrelated_drop", at_most=0.05)),
                "all prompts that the edit should leave alone; worst fall of a value",
                "unrelated_drop",
                "pocket model, 20 test pairs; efficacy at least 0.7 is our bound, the abstract names none",
                premise=PAINTS_KINDS,
            ),
            Claim(
                "It edits about as well as fine-tuning does.",
                "concepts",
                (
                    Bound("efficacy_gap_finetune", at_most=0.05),
                    Bound("neighbour_gap_finetune", at_most=0.05),
                ),
                "anchor matching after a hundred steps",
                "anchor_efficacy",
                "pocket model, three pairs; the bounds are ours",
            ),
        ),
    ),
    Paper(
        "Improving Diffusion Models for Scene Text Editing with Dual Encoders (DiffSTE)",
        "Ji et al., TMLR 2024, arXiv 2304.05568",
        (
            Claim(
                "Plain diffusion models struggle to write correct text and to follow a text style.",
                "scenetext",
                (Bound("instruction_only_accuracy", at_most=0.2),),
                "the right words through the autoencoder",
                "ceiling_accuracy",
                "the same network without the character encoder; its style is not measured; the bound is ours",
            ),
            Claim(
                "A character encoder makes the written words more legible.",
                "scenetext",
                (Bound("two_encoders_gain", at_least=0.3),),
                "the same network without it, trained on as many samples",
                "instruction_only_accuracy",
                "drawn words of 2 to 8 letters; the bound is ours",
            ),
            Claim(
                "An instruction encoder gives better control of the style.",
                "scenetext",
                (Bound("color_gain", at_least=0.3),),
                "the same model without the instruction",
                "color_accuracy_untold",
                "color alone, by the nearest of eleven names; the bound is ours",
            ),
            Claim(
                "The text takes the named style, or else that of the text around it.",
                "scenetext",
                (
                    Bound("color_accuracy", at_least=0.8),
                    Bound("font_top5", at_least=0.5),
                    Bound("surround_color_agreement", at_least=0.5),
                ),
                "all words around erased",
                "surround_color_agreement_control",
                "the bounds are ours",
            ),
            Claim(
                "It carries over to variants of a font that were never shown, such as italic and bold.",
                "scenetext",
                (Bound("bold_thicker_share", at_least=0.7), Bound("italic_lean_share", at_least=0.7)),
                "the same font asked for without the variant",
                scope="strokes 15 % thicker, 6 degrees more lean; the bounds are ours",
            ),
            Claim(
                "It mixes fonts into a new one.",
                "scenetext",
                (Bound("font_mix_monotonic_share", at_least=0.7),),
                "one font alone, at weights 0 and 1",
                scope="by a classifier of fonts; the bound is ours",
            ),
            Claim(
                "It follows freer wording of the instruction.",
                "scenetext",
                (Bound("color_accuracy", at_least=0.8), Bound("natural_language_drop", at_most=0.08)),
                "the canonical wording",
                "color_accuracy",
                "color alone, in sentences never trained on; the bounds are ours",
            ),
            Claim(
                "It beats earlier methods in correctness, naturalness and style control on five data sets."
            ),
        ),
    ),
    Paper(
        "DiffEditor: Boosting Accuracy and Flexibility on Diffusion-based Image Editing",
        "Mou et al., CVPR 2024, arXiv 2402.02583",
        (
            Claim(
                "Image prompts beside the text describe the edit better.",
                "editing",
                (Bound("image_prompt_gain_db", at_least=0.1),),
                "another picture as the prompt",
                "image_prompt_gain_db_mismatched",
                "moves on renders, without words; the bound is ours",
            ),
            Claim(
                "Stochastic sampling in a region adds flexibility and keeps the rest consistent.",
                "editing",
                (Bound("sde_diversity_ratio", at_least=1.5), Bound("sde_background_loss_db", at_most=0.5)),
                "the same seeds without noise",
                scope="removals on renders; the bounds are ours",
            ),
            Claim(
                "Regional score guidance improves the edit.",
                "editing",
                (Bound("ablation_reference_without_regional_gradients", at_least=0.2),),
                "the sum of both energies everywhere",
                scope="moves and removals on renders, RMSE in levels; the bound is ours",
            ),
            Claim(
                "Time travel during sampling improves the edit.",
                "editing",
                (Bound("ablation_reference_without_time_travel", at_least=0.2),),
                "each step taken once",
                scope="moves and removals on renders, RMSE in levels; the bound is ours",
            ),
            Claim(
                "It is the best at moving, resizing and dragging within a picture.",
                "editing",
                (
                    Bound("reference_win_rate", at_least=0.5),
                    Bound("reference_over_dragon_win_rate", at_least=0.5),
                ),
                "scissors and paste, of whose edits DragonDiffusion's beat this share",
                "dragon_over_paste_win_rate",
                "moves, resizings and removals on renders; no other published editor was run; the bounds are ours",
            ),
            Claim(
                "It is the best at replacing appearance and pasting objects across pictures.",
                "editing",
                (
                    Bound("reference_replace_win_rate", at_least=0.5),
                    Bound("reference_paste_win_rate", at_least=0.5),
                ),
                "scissors and paste, beaten by our default on this share of pasted objects",
                "paste_win_rate",
                "colors, materials and objects on renders; no other published editor was run; the bounds are ours",
            ),
            Claim("It does so efficiently."),
        ),
    ),
    Paper(
        "Diffusion Model for Dense Matching (DiffMatch)",
        "Nam et al., ICLR 2024, arXiv 2305.19094",
        (
            Claim(
                "Methods without an explicit prior often fail on textureless or repetitive regions, large "
                "displacements and noise.",
                "matching",
                tuple(
                    Bound(f"prior_ratio_{what}", at_least=1.5)
                    for what in ("textureless", "repetitive", "large", "noise")
                ),
                "the argmax of the same features, which has no prior; its error over ours on ordinary views",
                "prior_ratio_general",
                "rendered views, and corrupted pictures for noise; 1.5 times the error is our bound",
            ),
            Claim(
                "A conditional diffusion model of data and prior term is clearly better than earlier methods.",
                "matching",
                (Bound("classical_ratio", at_least=2), Bound("regression_ratio", at_most=0.9)),
                "the best classical dense flow; an equal-size regression network is the other control",
                "aepe_view_best_dense_baseline",
                "no published network was run; the bounds are ours",
            ),
            Claim(
                "A cascade with a super-resolution stage overcomes the limited resolution.",
                "matching",
                (Bound("stage2_ratio", at_most=0.9), Bound("stage2_pck1_gain", at_least=5)),
                "stage 1 alone, its field enlarged",
                "aepe_view_240_stage1",
                "grids of 32 and 128 cells on pictures of 256; the bounds are ours",
            ),
            Claim(
                "Ablations show that each component helps.",
                "matching",
                (
                    Bound("diffusion_over_smoothing", at_least=0.05),
                    Bound("no_cost_injection_ratio", at_least=1.05),
                    Bound("path_gain", at_least=0.02),
                ),
                "smoothing in place of diffusion; no local cost; one sample in place of an average",
                "smoothing_reduction",
                "the bounds are ours",
            ),
        ),
    ),
    Paper(
        "diffGrad: An Optimization Method for Convolutional Neural Networks",
        "Dubey et al., IEEE TNNLS 2020, arXiv 1909.11015",
        (
            Claim(
                "Weights whose gradient changes fast take larger steps than those whose gradient is steady.",
                "optim",
                (Bound("step_spread_unit", at_least=0.3),),
                "the same gradients a thousandth as large, as networks have them",
                "step_spread_small",
            ),
            Claim(
                "A regret bound shows that it converges.",
                "optim",
                (Bound("regret_slope", at_most=-0.5), Bound("counter_x_diffgrad", at_most=-0.9)),
                "the counter-example to Adam (best x -1), with AMSGrad",
                "counter_x_diffgrad_amsgrad",
                "random convex problems keep the rate, the counter-example does not",
            ),
            Claim(
                "It does well on three synthetic non-convex functions.",
                "optim",
                tuple(
                    Bound(f"{name}_diffgrad", at_most=most)
                    for name, most in (("f1", -0.29), ("f2", -0.63), ("f3", 0.05))
                ),
                "Adam at half the learning rate, which the paper lacks, does the same on f1",
                "f1_adam_half",
            ),
            Claim(
                "It beats SGDM, AdaGrad, AdaDelta, RMSProp, AMSGrad and Adam (ResNet, CIFAR-10 and -100).",
                "optim",
                (Bound("cifar_diffgrad_minus_adam", at_least=0),),
                "Adam at half the learning rate",
                "cifar_diffgrad_minus_adam_half",
                "ResNet-8, 4 epochs, JPEG re-encodings: Adam alone decides",
            ),
            Claim("It does uniformly well with different activation functions."),
        ),
    ),
)

GOALS: dict[str, tuple[Bound, ...]] = {
    "t2i": (
        Bound("kind_accuracy", at_least=0.80),
        Bound("color_accuracy", at_least=0.90),
        Bound("style_accuracy", at_least=0.90),
        Bound("viewpoint_accuracy", at_least=0.85),
        Bound("count_accuracy", at_least=0.75),
        Bound("judge_accuracy_min", at_least=0.97),
        Bound("judge_vae_accuracy_min", at_least=0.95),
        Bound("vae_psnr", at_least=32),
        Bound("seconds_per_image", at_most=1.5),
    ),
    "trace": (
        Bound("text_speedup", at_least=10),
        Bound("text_max_abs_diff", at_most=1e-5),
        Bound("unet_row_ratio", at_least=2.5),
        Bound("unet_max_abs_diff", at_most=1e-5),
    ),
    "concepts": (
        Bound("edit_ms_clip_l", at_most=300),
        Bound("reference_path_ratio", at_least=10),
        Bound("revert_exact", at_least=1),
        Bound("artifact_kib_clip_l", at_most=32),
        Bound("efficacy", at_least=0.70),
        Bound("unrelated_drop", at_most=0.05),
        Bound("lora_max_abs_diff", at_most=1e-5),
        Bound("mass_1000_s", at_most=10),
        Bound("finetune_ratio", at_least=1000),
        Bound("efficacy_gap_finetune", at_most=0.05),
        Bound("neighbour_gap_finetune", at_most=0.05),
        Bound("paraphrase_share", at_least=0.8),
    ),
    "editing": (
        Bound("move_win_rate", at_least=0.5),
        Bound("resize_win_rate", at_least=0.5),
        Bound("remove_win_rate", at_least=0.7),
        Bound("move_residue", at_most=0.10),
        Bound("remove_vacated_gain_db", at_least=0),
        Bound("cost_ratio_fast", at_most=0.25),
        Bound("fast_loss_db", at_most=0.5),
        Bound("second_edit_ratio", at_most=0.75),
        Bound("seconds_per_edit_fast", at_most=5),
        Bound("sde_diversity_ratio", at_least=1.5),
        Bound("fast_tflop_512", at_most=55),
        Bound("planned_minutes", at_most=120),
    ),
    "matching": (
        Bound("aepe_view_240", at_most=26),
        Bound("classical_ratio", at_least=2),
        Bound("diffusion_over_smoothing", at_least=0.2),
        Bound("corruption_ratio", at_most=1.8),
        Bound("ause_ratio", at_most=0.5),
        Bound("seconds_per_pair", at_most=3),
        Bound("parameters_millions", at_most=4),
    ),
    "scenetext": (
        Bound("judge_mended", at_most=0),
        Bound("vae_gate", at_least=0.95),
        Bound("two_encoders_gain", at_least=0.30),
        Bound("background_max_diff", at_most=0),
        Bound("word_accuracy_of_ceiling", at_least=0.40),
        Bound("color_accuracy", at_least=0.80),
        Bound("seconds_per_word", at_most=3),
        Bound("parameters_millions", at_most=5),
    ),
    "optim": (
        Bound("cpu_step_ratio_adam", at_most=1.10),
        Bound("cpu_speedup_pytorch_optimizer", at_least=3),
        Bound("cpu_speedup_torch_optimizer", at_least=6),
        Bound("torch_cases_failed", at_most=0),
        Bound("gpu_step_ratio_adam_fp32", at_most=1.30),
        Bound("gpu_step_ratio_adam_bf16", at_most=1.16),
        Bound("synthetic_error", at_most=1e-9),
    ),
}
"""What the project set out to reach, by bench (for models trained on a CPU)."""
