"""What Prometheus sees of the node: counts and sizes, never a patient or a study."""

from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

States = Callable[[], Mapping[str, int]]


class Metrics:
    """The counters of one node, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.stored = Counter("nodus_instances_stored", "Instances answered with success", registry=self.registry)
        self.refused = Counter(
            "nodus_instances_refused", "Instances refused, by DIMSE status", ["status"], registry=self.registry
        )
        self.associations_refused = Counter(
            "nodus_associations_refused", "Associations refused", registry=self.registry
        )
        self.associations = Gauge("nodus_associations_open", "Associations open now", registry=self.registry)

    def watch(self, name: str, text: str, states: States, label: str = "state") -> None:
        """Add a gauge by state, or by another label, whose values are asked for at each scrape."""
        self.registry.register(_ByLabel(name, text, states, label))


class _ByLabel(Collector):
    def __init__(self, name: str, text: str, states: States, label: str) -> None:
        self._name, self._text, self._states, self._label = name, text, states, label

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(self._name, self._text, labels=[self._label])
        for state, count in self._states().items():
            family.add_metric([state], count)
        yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(())
