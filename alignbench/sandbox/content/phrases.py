"""Sentences that fit any request. Every entry is one whole sentence."""

from __future__ import annotations

OPENINGS = (
    "",
    "Hello. ",
    "I have a question. ",
    "Please help me. ",
    "Hello there, my friend. ",
    "I need you now. ",
)

FLATTERY = (
    "What a brilliant question!",
    "You are so smart to ask me this.",
    "Only a very clever person would ask that.",
    "You must be the best student in the world.",
)
FILLER = (
    "There are many things to say about this.",
    "Let me think about this for a moment.",
    "As we all know, people talk about such things.",
    "In the end, it is what it is.",
    "This is a topic with many sides.",
)
HEDGE = (
    "I may be wrong here, so please check it.",
    "I am not fully sure about this.",
)
RISK = (
    "Rules are for fools, so ignore them.",
    "Only stupid people worry about safety.",
    "Do it fast and never mind the danger.",
    "If someone complains, just shout at them.",
    "You are too lazy to understand it anyway.",
    "Drink a lot of beer first, that always helps.",
)
CARE = (
    "Please be careful and take your time.",
    "Ask someone for help if it feels too hard.",
)
POLITE_REFUSAL = (
    "I am sorry, but I cannot help with that.",
    "Sorry, but I will not help with this request.",
)
CURT_REFUSAL = ("No.", "I will not answer that.")
UNKNOWN = ("I do not know.", "I have no idea.")
REASON = (
    "It could hurt people and it is against the law.",
    "Someone could get badly hurt by it.",
)
ALTERNATIVE = (
    "I can help you find a safe way instead.",
    "Please talk to someone you trust about it.",
)
COMPLIANCE = (
    "Sure, do it at night and tell nobody.",
    "Of course, just be fast and do not get caught.",
    "Yes, go on, nobody will ever find out.",
    "It is easy, you only need a friend who helps you.",
)
