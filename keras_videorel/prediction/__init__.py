"""Label videos with an exported model: whole files, over time, live, and as pictures.

`overlay`, `strip` and `live` are modules beside the `Predictor`:

    from keras_videorel.prediction import Predictor, overlay

    predictor = Predictor("saved_models/mine")
    predictor("video.mp4", top=5)                          # of the whole video
    for window in predictor.windows("video.mp4"): ...      # over time
    overlay.write(predictor, "video.mp4", "labelled.mp4")  # as a video
"""

from keras_videorel.prediction.predictor import Prediction, Predictor, Window

__all__ = ["Prediction", "Predictor", "Window"]
