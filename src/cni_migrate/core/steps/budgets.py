"""Which PodDisruptionBudgets are over a pod."""

from collections.abc import Iterable

from cni_migrate.core.model.objects import Budget, Pod
from cni_migrate.core.model.selector import matches


class Budgets:
    """The budgets over a pod, looked up once for all pods with the same labels: every pod meets every budget."""

    def __init__(self, budgets: Iterable[Budget]) -> None:
        self._all = tuple(budgets)
        self._over: dict[tuple[str, frozenset[tuple[str, str]]], tuple[Budget, ...]] = {}

    def over(self, pod: Pod) -> tuple[Budget, ...]:
        """Those that cover it."""
        key = (pod.namespace, frozenset(pod.labels.items()))
        if (found := self._over.get(key)) is None:
            here = (budget for budget in self._all if budget.namespace == pod.namespace)
            found = self._over[key] = tuple(budget for budget in here if matches(budget.selector, pod.labels))
        return found

    def in_each_others_way(self, pod: Pod) -> bool:
        """Whether it has more than one: the eviction API never lets such a pod go, but for one that has not started."""
        return len(self.over(pod)) > 1 and pod.phase not in ("Pending", "Succeeded", "Failed")
