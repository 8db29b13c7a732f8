"""Label videos with an exported model: whole files, over time, live, and as annotated videos.

from keras_videorel.prediction import Predictor, live, overlay, strip

predictor = Predictor("saved_models/mine")
predictor("video.mp4", top=5)                         # the whole video
for window in predictor.windows("video.mp4"): ...     # over time
overlay.write(predictor, "video.mp4", "labeled.mp4")  # as an annotated video
"""

from keras_videorel.prediction.predictor import Prediction, Predictor, Window

__all__ = ["Prediction", "Predictor", "Window"]
