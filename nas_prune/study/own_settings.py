"""What a study says of a training function of somebody's own: not the function, which stands in no file."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from nas_prune.data.metric import ACCURACY, Metric
from nas_prune.data.tasks import metric_of_task
from nas_prune.training.recipe import MOST_EPOCHS

# Settings of trainings by nas-prune: a study whose function trains has none of them.
NOT_OWN = (
    "data",
    "recipe",
    "device",
    "threads",
    "precision",
    "channels_last",
    "compiles",
    "images",
    "width_multiplier",
    "judge_epochs",
    "hours",
    "against",
)


class OwnTraining(BaseModel):
    """What is fixed of a study whose trainings a person's own function does.

    Attributes:
        network: what tells the network from others, in words.
        metric: what the function returns.
        full_epochs: of a training in full; None where the function knows one length alone.
        has_epochs: whether the function is told how many epochs a training has.
        ranks: whether the best are trained again at the end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    network: str = Field(min_length=1, max_length=1000)
    metric: Metric = Metric("score")
    full_epochs: int | None = Field(default=None, ge=1, le=MOST_EPOCHS)
    has_epochs: bool = False
    ranks: bool = True


class OwnStudy(BaseModel):
    """Settings of a study, whose trainings may be somebody's own.

    Attributes:
        own: what is known of these; None where nas-prune trains.
    """

    own: OwnTraining | None = None

    @property
    def metric(self) -> Metric:
        """What networks are compared by."""
        if self.own is not None:
            return self.own.metric
        data = getattr(self, "data", None)
        return ACCURACY if data is None else metric_of_task(data.task)

    @model_serializer(mode="wrap")
    def _without_ours(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without settings that say nothing here."""
        content: dict[str, Any] = handler(self)
        left_out = ("own",) if self.own is None else NOT_OWN
        return {name: value for name, value in content.items() if name not in left_out}
