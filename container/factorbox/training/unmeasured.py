"""Why nobody of a data set can be measured by a part that is held out, and what would help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from factorbox.data import splits
from factorbox.data.interactions import Interactions


@dataclass(frozen=True, eq=False, kw_only=True)
class Unmeasured:
    """A hold-out by which nobody can be measured.

    Attributes
    ----------
    interactions
        All training data.
    method, fraction, most_users, random_state
        As in `factorbox.data.splits.hold_out`.
    """

    interactions: Interactions
    method: splits.Method
    fraction: float
    most_users: int
    random_state: int

    def reason(self) -> str:
        """Say in a sentence why it is so, and what to do where something helps."""
        why, remedies = self._why_and_remedies()
        data = self.interactions
        # Where all users have all items, no channel holds a pair that is new.
        if data.n_pairs < data.n_users * data.n_items:
            remedies.append("give a channel validation")
        return f"{why}: {', or '.join(remedies)}" if remedies else why

    def _why_and_remedies(self) -> tuple[str, list[str]]:
        if self.interactions.by_user().counts.max() < 2:
            return "no user has a second interaction", []
        if self.method == "chronological":
            others: tuple[splits.Method, ...] = ("stratified", "random")
            helpful = next((method for method in others if self._measures(method)), None)
            why = "no user has interactions both before and after the cut in time"
            return why, [f"set validation={helpful}"] * (helpful is not None)
        is_random = self.method == "random"
        if is_random and self._measures("random", fraction=0.5):
            return f"validation_fraction={self.fraction:g} of so few interactions is less than one", ["raise it"]
        only_one = "can be held out without taking a user's or an item's only one"
        if self._can_spare(fewest=2 if is_random else splits.FEWEST_OF_STRATIFIED):
            drawn = "user who was drawn" if self.most_users == 1 else f"{self.most_users:,} users who were drawn"
            return f"no interaction of the {drawn} {only_one}", ["raise validation_users"]
        if is_random:
            return f"no interaction {only_one}", []
        remedies = ["set validation=random to hold out rows of any users"] * self._measures("random")
        return "no user has five interactions of which one can be held out without taking an item's only one", remedies

    def _measures(self, method: splits.Method, *, fraction: float | None = None) -> bool:
        """Whether another hold-out would leave somebody to measure."""
        split = splits.hold_out(
            self.interactions,
            method=method,
            fraction=self.fraction if fraction is None else fraction,
            most_users=self.most_users,
            random_state=self.random_state,
        )
        return len(split.users) > 0

    def _can_spare(self, *, fewest: int) -> bool:
        """Whether a user of so many interactions, drawn or not, has one of an item that has another."""
        data = self.interactions
        is_shared = np.bincount(data.item_indices, minlength=data.n_items) > 1
        of_user = data.by_user().counts
        return bool((is_shared[data.item_indices] & np.repeat(of_user >= fewest, of_user)).any())
