"""Floor 0. mmllava: LLaVA for OpenMMLab."""
