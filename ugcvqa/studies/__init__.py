"""The saliency study: similarity, activations, map quality, and its page."""
