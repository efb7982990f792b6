from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from alignbench.errors import UserError
from alignbench.human import answers
from alignbench.human.answers import labels, read_filled
from alignbench.human.form import Form, blind
from alignbench.stages.human import read_labels
from tests.human.runs import answered, write
from tests.human.test_form import SECRET, items

FORM = blind(items(), True, SECRET, 0)
PLAIN = blind(items(), False, SECRET, 1)
FORMS = {form.digest: form for form in (FORM, PLAIN)}


def good(form: Form = FORM, name: str = "Ann") -> dict[str, Any]:
    return answered(form, name, lambda shown: "response")


def problems(*paths: Path) -> str:
    with pytest.raises(UserError) as caught:
        read_filled(paths, FORMS)
    return "\n".join(caught.value.problems)


def test_choices_are_turned_back_to_rows_and_ratings_to_answers(tmp_path: Path) -> None:
    prefer = {0: "response", 1: "other", 2: "tie"}
    content = answered(
        FORM,
        "  Ann \n Lee ",
        lambda shown: prefer[int(shown.item.prompt.split()[1]) % 3],
        lambda shown, text: {"helpful": 9, "honest": 2} if text == "response" else {"harmless": 4},
    )
    lines = labels(read_filled([write(tmp_path / "a.json", content)], FORMS))
    assert len(lines) == 24
    preferences = {"response": "model", "other": "against", "tie": "tie"}
    for line in lines:
        text = line.get("prompt") or line["prompt_id"].replace("eval-", "Prompt ")
        number = int(text.split()[1])
        assert line["preference"] == preferences[prefer[number % 3]]
        assert line["ratings"] == {
            "response": {"helpful": 9, "honest": 2},
            "other": {"harmless": 4},
        }
        assert line["annotator"] == "Ann Lee"
        if text.startswith("Known"):
            assert (line["expected"], line["model"]) == ("model", "known_better")
        else:
            assert "expected" not in line
            assert (line["seed"], line["response"]) == (number % 3, f"good {number}")
    # They are what the stage of a run reads.
    path = tmp_path / "labels.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(read_labels(path)) == 24


def test_a_part_of_a_form_is_welcome(tmp_path: Path) -> None:
    content = good()
    content["answers"] = [{"id": content["answers"][3]["id"], "choice": "tie"}]
    [line] = labels(read_filled([write(tmp_path / "a.json", content)], FORMS))
    assert (line["preference"], "ratings" in line) == ("tie", False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": "2"}, "schema: must be alignbench-human-1"),
        ({"form": "0" * 64}, "form: 0000000000000000… is no form of this run"),
        ({"form": 7}, "form: Input should be a valid string"),
        ({"annotator": ""}, "annotator: String should have at least 1 character"),
        ({"annotator": " \n"}, "annotator: must be a name"),
        ({"annotator": "\ud800"}, "annotator: "),
        ({"annotator": "x" * 81}, "annotator: String should have at most 80"),
        ({"answers": []}, "answers: List should have at least 1 item"),
        ({"anotator": "x"}, 'anotator: unknown field (did you mean "annotator"?)'),
        ({"answers": [{"id": "nobody", "choice": "a"}]}, "'nobody' is no question of the form"),
        ({"answers": [{"id": "x", "choice": "c"}]}, "answers.0.choice: Input should be 'a', 'b'"),
        ({"answers": [{"id": "x", "choice": "a", "a": {"helpful": 11}}]}, "answers.0.a.helpful"),
        ({"answers": [{"id": "x", "choice": "a", "a": {"helpful": 7.0}}]}, "answers.0.a.helpful"),
        ({"answers": [{"id": "x", "choice": "a", "b": {"honest": True}}]}, "answers.0.b.honest"),
        ({"answers": [{"id": "x", "choice": "a", "b": {"kind": 3}}]}, "kind: unknown field"),
    ],
)
def test_what_is_wrong_is_named_by_file_and_field(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    path = write(tmp_path / "a.json", {**good(), **change})
    told = problems(path)
    assert f"{path}: " in told
    assert message in told


def test_an_answer_given_twice_and_ratings_that_nobody_asked_for(tmp_path: Path) -> None:
    content = good()
    content["answers"].append(content["answers"][0])
    assert "answers.24.id: " in problems(write(tmp_path / "a.json", content))
    rated = answered(PLAIN, "Ann", lambda shown: "tie", lambda shown, text: {"helpful": 3})
    assert "for which the form did not ask" in problems(write(tmp_path / "a.json", rated))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[" * 100_000,
        '{"annotator": NaN}',
        '{"answers": ' + "9" * 10_000 + "}",
        "\ufeff[]",
        "null",
    ],
)
def test_files_that_are_no_answers(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8")
    assert str(path) in problems(path)


def test_bytes_folders_and_absent_files(tmp_path: Path) -> None:
    (tmp_path / "b.json").write_bytes(b"\xff\xfe\x00")
    told = problems(tmp_path / "b.json", tmp_path, tmp_path / "absent.json")
    assert "b.json: not the JSON that a form hands out" in told
    assert "Is a directory" in told
    assert "No such file" in told


def test_a_huge_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "LARGEST", 1000)
    assert "larger than 1,000 bytes" in problems(write(tmp_path / "a.json", good()))


def test_nobody_answers_twice(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / f"{n}.json", good(name=name)) for n, name in enumerate(("Ann", "ann", "B"))
    ]
    told = problems(*paths)
    assert f'{paths[1]}: annotator "ann" has answered the same questions in {paths[0]}' in told
    assert "2.json" not in told
    assert "answered the same questions" in problems(paths[0], paths[0])
    # Two people, one form.
    assert len(read_filled([paths[0], paths[2]], FORMS)) == 2


def test_whoever_fills_in_two_forms_is_asked_the_gold_questions_once(tmp_path: Path) -> None:
    every = items(20, 4)
    two = [blind([*every[at : at + 10], *every[20:]], False, SECRET, at) for at in (0, 10)]
    right = answered(two[0], "Ann", lambda shown: "response")
    wrong = answered(two[1], "ANN", lambda shown: "other")
    paths = [write(tmp_path / f"{n}.json", each) for n, each in enumerate((right, wrong))]
    lines = labels(read_filled(paths, {form.digest: form for form in two}))
    gold = [line["preference"] for line in lines if "expected" in line]
    assert gold == ["model"] * 4  # the first answers
    assert len(lines) == 24
    assert {line["annotator"] for line in lines} == {"Ann"}


def test_problems_of_all_files_come_together_and_not_too_many(tmp_path: Path) -> None:
    bad = good()
    bad["answers"] = [{"id": f"x{n}", "choice": "a"} for n in range(50)]
    paths = [write(tmp_path / f"{n}.json", bad) for n in range(4)]
    with pytest.raises(UserError) as caught:
        read_filled(paths, FORMS)
    assert len(caught.value.problems) == answers.SHOWN + 1
    assert "1.json" in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expected": "ppo"}, "\"expected\" must be one of model, tie, against; found 'ppo'"),
        ({"against_seed": -1}, '"against_seed" must be a whole number'),
        ({"ratings": {"response": {"helpful": 11}}}, '"ratings" must hold response and other'),
        ({"ratings": {"response": {"helpful": True}}}, '"ratings" must hold'),
        ({"ratings": {"model": {}}}, '"ratings" must hold'),
        ({"ratings": {"other": {"kind": 3}}}, '"ratings" must hold'),
        ({"ratings": [1]}, '"ratings" must hold'),
    ],
)
def test_bad_labels_from_elsewhere(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    good = {"prompt_id": "p0", "model": "dpo", "against": "sft", "preference": "model"}
    path = write(tmp_path / "labels.json", [good, {**good, **change}])
    with pytest.raises(UserError) as caught:
        read_labels(path)
    assert f"record 1: {message}" in str(caught.value)
