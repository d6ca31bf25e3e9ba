"""Pools of this machine: equal nodes, what is in use on each, and which cards are whose. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from suanwang.agent.config import AcceleratorConfig, PoolConfig
from suanwang.agent.drivers.process.link import Tag
from suanwang.protocol.messages import AcceleratorReport, FailureClass, Quantity, RunSpec

WHOLE = 1000
"""Milli-cards of a card."""
Cards = dict[str, list[tuple[int, int]]]


@dataclass(frozen=True, slots=True)
class MachineSize:
    """What there is to carve up."""

    cpu_milli: int
    memory_mib: int
    disk_mib: int


@dataclass(frozen=True, slots=True)
class CardModel:
    """Alike cards: what they are, and their numbers as the vendor's runtime counts them."""

    report: AcceleratorReport
    cards: tuple[int, ...]
    files: Mapping[int, int] = field(default_factory=dict)
    """card → the number in the name of its device file, where that is another"""


def deal(configs: Sequence[PoolConfig], found: CardModel | None) -> list[CardModel | None]:
    """What cards each pool has; no card is two pools'.

    Declared cards are numbered on from pool to pool. What was found beyond them belongs to the
    first pool that declares none; a pool that shall have none declares a count of 0.
    """
    hands: list[CardModel | None] = []
    first = 0
    for config in configs:
        declared = config.accelerator
        count = declared.count * config.nodes if declared is not None else 0
        own = tuple(range(first, first + count))
        hands.append(CardModel(_report(declared), own) if declared and own else None)
        first += count
    open_ones = [index for index, config in enumerate(configs) if config.accelerator is None]
    rest = tuple(card for card in found.cards if card >= first) if found is not None else ()
    if found is not None and rest and open_ones:
        hands[open_ones[0]] = replace(found, cards=rest)
    return hands


class Refused(Exception):
    """The order cannot be carried out here; the sentence says why."""

    def __init__(self, why: str, failure: FailureClass = FailureClass.REJECTED) -> None:
        super().__init__(why)
        self.failure = failure


@dataclass(slots=True)
class Node:
    """A share of the machine. `cards` maps the machine's card number to milli-cards in use."""

    name: str
    capacity: Quantity
    cards: dict[int, int] = field(default_factory=dict)
    own: tuple[int, ...] = ()
    """The numbers of its cards; `cards` may come to know others', of runs from an older hand."""
    cpu_milli: int = 0
    memory_mib: int = 0


class Pool:
    """The nodes of one pool and what runs on them. Leases are counted once, however often seen."""

    def __init__(self, config: PoolConfig, size: MachineSize, hand: CardModel | None) -> None:
        """`hand`: the pool's cards, as dealt."""
        cards = hand.cards if hand is not None else ()
        per_node = len(cards) // config.nodes
        self.config = config
        self.accelerator = hand.report if hand is not None else None
        self.card_files = hand.files if hand is not None else {}
        capacity = Quantity(
            _milli(config.cpus) if config.cpus is not None else size.cpu_milli // config.nodes,
            _mib(config.memory_gib, size.memory_mib // config.nodes),
            _mib(config.disk_gib, size.disk_mib // config.nodes),
            per_node * WHOLE,
        )
        self.nodes = {
            name: Node(name, capacity, dict.fromkeys(own, 0), own)
            for name, own in (
                (f"{config.name}-{i}", cards[i * per_node : (i + 1) * per_node])
                for i in range(config.nodes)
            )
        }
        self._held: dict[str, Tag] = {}

    def place(self, spec: RunSpec) -> Tag:
        """Where the run goes and which cards it gets. Raises Refused."""
        if spec.lease_id in self._held:
            return self._held[spec.lease_id]
        need = spec.member_quantity
        nodes = list(spec.nodes) if spec.nodes else self._choose(spec)
        if sum(count for _, count in nodes) != spec.members:
            raise Refused(f"the order places other than its {spec.members} members")
        cards: Cards = {}
        for i, (name, count) in enumerate(nodes):
            node = self.nodes.get(name)
            if node is None:
                raise Refused(f"pool {self.config.name} has no node {name}")
            _check(node, need, count)
            if need.accelerator_milli:
                wish = spec.cards[i] if i < len(spec.cards) else []
                cards[name] = _wished_cards(
                    node, wish, need.accelerator_milli, count
                ) or _pick_cards(node, need.accelerator_milli, count)
        return Tag(self.config.name, nodes, need.cpu_milli, need.memory_mib, cards)

    def cards_of(self, tag: Tag) -> tuple[tuple[int, ...], ...]:
        """Per node of the tag: the positions of its cards among the node's; () if it has none."""
        if not tag.cards:
            return ()
        found = []
        for name, _ in tag.nodes:
            node = self.nodes.get(name)
            order = {card: i for i, card in enumerate(node.own)} if node is not None else {}
            found.append(tuple(order[c] for c, _ in tag.cards.get(name, []) if c in order))
        return tuple(found)

    def hold(self, lease: str, tag: Tag) -> None:
        if lease not in self._held:
            self._held[lease] = tag
            self._book(tag, 1)

    def release(self, lease: str) -> None:
        tag = self._held.pop(lease, None)
        if tag is not None:
            self._book(tag, -1)

    def _book(self, tag: Tag, sign: int) -> None:
        for name, count in tag.nodes:
            node = self.nodes.get(name)
            if node is None:
                continue
            node.cpu_milli += sign * tag.cpu_milli * count
            node.memory_mib += sign * tag.memory_mib * count
            for card, milli in tag.cards.get(name, []):
                node.cards[card] = node.cards.get(card, 0) + sign * milli

    def _choose(self, spec: RunSpec) -> list[tuple[str, int]]:
        """Members one by one to the node with the most free cores; ties to the first name."""
        need = spec.member_quantity
        free = {name: n.capacity.cpu_milli - n.cpu_milli for name, n in self.nodes.items()}
        counts = dict.fromkeys(self.nodes, 0)
        for _ in range(spec.members):
            best = max(free, key=lambda name: (free[name], -_order(name)))
            counts[best] += 1
            free[best] -= max(need.cpu_milli, 1)
        return [(name, count) for name, count in counts.items() if count]


def _order(name: str) -> int:
    return int(name.rpartition("-")[2])


def _check(node: Node, need: Quantity, count: int) -> None:
    capacity = node.capacity
    for what, wanted, there in (
        ("milli-cores", need.cpu_milli, capacity.cpu_milli),
        ("MiB of memory", need.memory_mib, capacity.memory_mib),
        ("MiB of disk", need.disk_mib, capacity.disk_mib),
        ("milli-cards", need.accelerator_milli, capacity.accelerator_milli),
    ):
        if wanted * count > there:
            raise Refused(f"{node.name} has {there} {what}, the order wants {wanted * count}")


def _wished_cards(
    node: Node, wish: Sequence[int], milli: int, count: int
) -> list[tuple[int, int]] | None:
    """The cards that the order names, by position; None if it names none or one has no room."""
    share = min(milli, WHOLE)
    if not wish or len(wish) != count * max(1, milli // WHOLE) or max(wish) >= len(node.own):
        return None
    used = dict(node.cards)
    for position in wish:
        card = node.own[position]
        used[card] += share
        if position < 0 or used[card] > WHOLE:
            return None
    return [(node.own[position], share) for position in wish]


def _pick_cards(node: Node, milli: int, count: int) -> list[tuple[int, int]]:
    """Whole cards to each member, or a share of the fullest card that still has room."""
    used = dict(node.cards)
    picked: list[tuple[int, int]] = []
    for _ in range(count):
        if milli % WHOLE == 0:
            idle = [card for card, busy in used.items() if busy == 0][: milli // WHOLE]
            if len(idle) * WHOLE < milli:
                raise Refused(f"{node.name} has no {milli // WHOLE} free cards")
            chosen = [(card, WHOLE) for card in idle]
        elif milli < WHOLE:
            room = [card for card, busy in used.items() if busy + milli <= WHOLE]
            if not room:
                raise Refused(f"{node.name} has no card with {milli}/1000 free")
            chosen = [(max(room, key=lambda card: (used[card], -card)), milli)]
        else:
            raise Refused("more than one card must be asked for in whole cards")
        for card, share in chosen:
            used[card] += share
        picked.extend(chosen)
    return picked


def cards_of_members(tag: Tag, members: int) -> list[list[int]]:
    """member → its card numbers, in the order of the tag's nodes."""
    given: list[list[int]] = []
    for name, count in tag.nodes:
        cards = [card for card, _ in tag.cards.get(name, [])]
        each = len(cards) // count if count else 0
        given.extend(cards[i * each : (i + 1) * each] for i in range(count))
    return given if len(given) == members else [[] for _ in range(members)]


def nodes_of(tag: Tag | None) -> tuple[str, ...]:
    return tuple(name for name, _ in tag.nodes) if tag is not None else ()


def find_pool(pools: Sequence[Pool], name: str) -> Pool:
    """Raises Refused."""
    for pool in pools:
        if pool.config.name == name:
            return pool
    raise Refused(f"there is no pool {name} here")


def _report(declared: AcceleratorConfig) -> AcceleratorReport:
    return AcceleratorReport(
        declared.model,
        declared.vendor,
        round(declared.memory_gib * 1024),
        round(declared.fp16_tflops * 1000),
    )


def _milli(cores: float) -> int:
    return round(cores * 1000)


def _mib(gib: float | None, default: int) -> int:
    return default if gib is None else round(gib * 1024)
