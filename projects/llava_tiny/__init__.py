"""llava-tiny: a small drawn world, and the recipe of the LLaVA that was trained on it.

Scenes of one to four things in colours, on a surface, come from a seed (`scenes`). They are
drawn (`draw`), described and asked about (`sentences`), turned into conversations
(`conversations`) and written as data sets (`build_dataset`). `patch_supervision` trains the
tower; `caption_check` and `dialogue_eval` compare a model's answers with the scene. The model
itself is in the package (`mmllava.load('tiny')`) and needs none of this.
"""
