"""Topic and group names as they are in Kafka: ours behind the installation's prefix; nobody else knows the prefix."""

from dataclasses import dataclass

from aiokafka import TopicPartition

from eventbus.bus import Partition


@dataclass(frozen=True, slots=True)
class Names:
    """Translates names to Kafka's and back."""

    prefix: str

    def there(self, name: str) -> str:
        """A topic or group of ours as Kafka knows it."""
        return self.prefix + name

    def here(self, name: str) -> str:
        """A topic or group in Kafka as we know it."""
        return name.removeprefix(self.prefix)

    def partition_there(self, partition: Partition) -> TopicPartition:
        """A partition of ours as aiokafka knows it."""
        return TopicPartition(self.prefix + partition.topic, partition.number)

    def partition_here(self, partition: TopicPartition) -> Partition:
        """A partition of aiokafka's as we know it."""
        return Partition(self.here(partition.topic), partition.partition)
