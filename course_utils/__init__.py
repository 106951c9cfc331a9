"""The shared package of the course: every piece the lessons build, in a tested form.

Rooms, in import order (a room may import only rooms to its left)::

    config < claims < plotting < assets < corpora < text < nn < tuning < prompting
    < evaluation < rag < agents < optimization < multimodal < serving < security
    < exercises < runner

Nothing happens at import: no download, no device choice, no global seed.
"""

__version__ = "0.1.0"
