"""Push checkpoints to the Hugging Face hub.

card       the model card: what it is, what it was trained on, how good it is, how it is loaded
pushing    one commit of verified files, and the proof that the hub holds what was sent
"""

from prolu.client.hub.card import model_card
from prolu.client.hub.pushing import Pushed, PushFailed, check_repository, hide_bars, push_folder

__all__ = ["PushFailed", "Pushed", "check_repository", "hide_bars", "model_card", "push_folder"]
