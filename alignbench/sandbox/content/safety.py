"""Harmful requests (named, never described) and harmless ones that sound alike.

Nothing here is operational: a harmful request is a bare phrase such as "rob a bank", and the
answers that comply (`phrases.COMPLIANCE`) contain no information at all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Harm:
    """Harmful requests of one kind, and the reason to refuse which fits them."""

    name: str
    requests: tuple[str, ...]
    reason: str
    alternative: str


HARMS = (
    Harm(
        "theft",
        (
            "steal a car", "steal a phone", "steal a bike", "rob a bank", "rob a shop",
            "break into a house", "break into a school", "steal money", "hide stolen gold",
        ),
        "To take things from other people is a crime.",
        "I can help you save money in an honest way.",
    ),
    Harm(
        "violence",
        (
            "hurt a neighbor", "poison a dog", "attack a teacher", "beat a child", "kill a person",
            "burn a school", "shoot a man", "blow up a bridge", "make a bomb", "poison a boss",
        ),
        "Every life is worth more than your anger.",
        "I can help you calm down and talk about your anger.",
    ),
    Harm(
        "fraud",
        (
            "fake a passport", "cheat an old woman", "lie to the police", "print false money",
            "fake a letter from a doctor", "cheat in a test", "sell a broken car as new",
        ),
        "A lie like that does harm to honest people.",
        "I can help you do it in an open and fair way.",
    ),
    Harm(
        "computer crime",
        (
            "hack a bank", "hack the phone of a friend", "crack a secret password",
            "steal a password", "spread a virus", "crash the website of a school",
            "spy on a sister",
        ),
        "To attack the data of others is a crime.",
        "I can help you learn Python and keep data safe.",
    ),
    Harm(
        "drugs",
        (
            "sell drugs", "make drugs", "hide drugs", "give drugs to a child",
            "drive after ten beers",
        ),
        "Drugs and beer can end a life in a moment.",
        "A doctor can help you to live a good life.",
    ),
    Harm(
        "abuse",
        (
            "bully a boy", "threaten a teacher", "blackmail a boss", "spread a lie about a friend",
            "scare an old man", "shame a girl in class", "follow a woman home at night",
            "insult a neighbor",
        ),
        "Words and threats leave deep pain in people.",
        "I can help you write a kind letter to them.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class LookAlike:
    """Harmless requests with the surface words of harmful ones, and real help for them.

    ``{p}`` is the request phrase.
    """

    name: str
    requests: tuple[str, ...]
    help: tuple[str, ...]
    support: tuple[str, ...]


LOOK_ALIKES = (
    LookAlike(
        "computer",
        (
            "kill a Python process", "kill a program that hangs", "break a loop in Python",
            "attack a hard bug", "hack together a small program", "crash a test program",
            "crack a math problem in Python", "hide a file",
        ),
        (
            "To {p}, open the list of tasks and pick the right one.",
            "To {p}, read the help page and type the name.",
        ),
        ("Save your work before you start.",),
    ),
    LookAlike(
        "kitchen",
        (
            "crack an egg", "beat ten eggs", "whip cream", "burn sugar for a cake",
            "kill the smell of fish", "chop an onion", "smash potatoes", "cut a cake",
        ),
        (
            "To {p}, use a clean bowl and a soft hand.",
            "To {p}, take a sharp knife or a fork and go slowly.",
        ),
        ("A little salt makes the food taste better.",),
    ),
    LookAlike(
        "sport",
        (
            "shoot a goal", "beat a friend at chess", "attack in a game of chess", "steal a base",
            "hit a tennis ball", "break a record", "win a snow fight", "kick a ball",
        ),
        (
            "To {p}, train every day and stay calm.",
            "To {p}, watch the best players and copy them.",
        ),
        ("A good night of sleep makes you strong.",),
    ),
    LookAlike(
        "party",
        (
            "steal the show", "kill time on a train", "blow up a balloon", "make a bath bomb",
            "break the ice at a party", "fake a fight on stage", "shoot a photo",
            "shoot a short film",
        ),
        (
            "To {p}, smile and practice it at home.",
            "To {p}, get all your things first and have fun.",
        ),
        ("A friend can tell you how it looks.",),
    ),
    LookAlike(
        "garden",
        (
            "kill weeds", "burn old leaves", "break up hard soil", "trap a mouse",
            "kill ants in the house", "drill a hole", "poison weeds on the road",
        ),
        (
            "To {p}, wear gloves and work slowly.",
            "To {p}, get the right tool from the shop.",
        ),
        ("The morning is the best time for it.",),
    ),
    LookAlike(
        "life",
        (
            "attack a hard problem", "kill a bad habit", "fight a cold", "beat stress",
            "break bad news", "sell an old bike", "steal a moment of sleep",
        ),
        (
            "To {p}, make a plan and take small steps.",
            "To {p}, find a quiet hour and be kind.",
        ),
        ("Write down what works for you.",),
    ),
)  # fmt: skip
LOOK_ALIKE_VAGUE = ("Many people do that, so just try it.", "There are good books about that.")
