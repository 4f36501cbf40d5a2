"""Hidden object: a hand fetches an object that it saw going behind one of two screens.

The picture is 64 x 64 px. x grows to the right, in px from the left edge. When a plan is made, the
picture is the same wherever the object went, so only a model that remembers can plan.
"""
