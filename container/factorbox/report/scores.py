"""What a report calls the scores of a model, and how it writes them."""

from __future__ import annotations

from factorbox.evaluation.held_out import rated_by
from factorbox.recommender import Recommender
from factorbox.report.charts import decimal, percent


def predicts_ratings(model: Recommender) -> bool:
    """Whether scores are ratings, or what a link makes of them; `nmf` may fit the empty cells too, and only rank."""
    traits = model.answering.traits
    return rated_by(traits.feedback, traits.link, hyperparameters=model.manifest["hyperparameters"]) is not None


def score_name(model: Recommender) -> str:
    """Return the heading of a column of scores."""
    if not predicts_ratings(model):
        return "Score"
    names = {"identity": "Predicted rating", "sigmoid": "Chance of a like", "exp": "Expected count"}
    return names[model.answering.traits.link]


def score_text(model: Recommender, score: float) -> str:
    """Return a score as a table shows it."""
    if model.answering.traits.link == "sigmoid":
        return percent(score)
    return decimal(score, 2 if predicts_ratings(model) else 3)


def impact_name(model: Recommender) -> str:
    """Return the title of an axis of what items of a history add to a score, or to what a link makes a score of."""
    link = model.answering.traits.link
    if link == "sigmoid":
        return "added to the log-odds"
    if link == "exp":
        return "added to the logarithm of the count"
    return "added to the rating" if predicts_ratings(model) else "added to the score"
