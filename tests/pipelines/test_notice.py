from __future__ import annotations

from pipelines.notice import NOTICE, NOTICE_SHA256, NOTICE_VERSION
from policies.digest import sha256_hex

# Digest by version: a text that changes without a new version was never shown to anybody.
PUBLISHED = {
    "3": "98d18b989c74f19598b5a6be2bc7b1969db03192c1d81084946e6451d32370da",
    "4": "7a0cfa2703ec50f7b5858998fcd39d2bdd323a71ca8022554a949a8dc16422f7",
    "5": "a9feaa82e70693b52990292c26c418b25edd98d6e7b721237072190e15696122",
}


def test_the_digest_is_of_the_very_text_and_every_text_has_a_version() -> None:
    assert sha256_hex(NOTICE.encode()) == NOTICE_SHA256
    assert PUBLISHED[NOTICE_VERSION] == NOTICE_SHA256, "a new text needs a new version"


def test_the_notice_says_what_a_person_must_know() -> None:
    text = " ".join(NOTICE.split())
    for words in (
        "encrypted template of your face",
        "withdraw at any time, in one step and without a reason",
        "Withdrawing erases the template",
        "You can see all that is kept about you, and have the key of your data destroyed for good",
        "the signed record of what you agreed to is kept for its time",
        "marked as AI-made",
        "or in videos if you say so",
        "I am 18 or older",
    ):
        assert words in text, words
