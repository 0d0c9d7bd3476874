import shutil

import numpy as np
import pytest
import torch

from cvdl.errors import CourseError
from cvdl.sequence import tasks
from cvdl.settings import ROOT


def generator(n=0):
    return torch.Generator().manual_seed(n)


def test_digits():
    train, test, symbols = tasks.digits()
    assert train[0].shape == (1415, 8, 8) and test[0].shape == (382, 8, 8)
    assert train[1].dtype == torch.long and len(symbols) == 10
    assert train[0].min() == 0 and train[0].max() == 1
    images = {image.numpy().tobytes() for image in train[0]}
    assert not any(image.numpy().tobytes() in images for image in test[0])


@pytest.mark.parametrize("load, least", [(tasks.names, 5000), (tasks.spellings, 10_000)])
def test_text_splits_share_nothing(load, least):
    train, test, symbols = load()
    assert len(train) > least and 0.15 < len(test) / (len(train) + len(test)) < 0.25
    first = [text for text, _ in (*train, *test)]
    assert len(first) == len(set(first))
    assert set("".join(first)) <= set(tasks.LETTERS)
    assert symbols == sorted(set(symbols))


def test_names_know_their_languages():
    train, test, languages = tasks.names()
    assert len(languages) == 16
    assert {language for _, language in train} == {language for _, language in test} == set(languages)
    assert ("aalto", "Finnish") in train + test


def test_spellings_are_sounds():
    train, test, phonemes = tasks.spellings()
    assert len(phonemes) == 39
    assert {p for _, said in test for p in said} <= set(phonemes)
    assert dict(train + test)["about"] == ("AH", "B", "AW", "T")


def test_digit_strips_are_the_digits_side_by_side():
    images = torch.arange(3.0)[:, None, None] * 100 + torch.arange(64.0).view(8, 8)
    labels = torch.tensor([0, 1, 2])
    columns, targets, lengths = tasks.digit_strips(images, labels, 50, (1, 4), generator())
    assert columns.shape == (32, 50, 8) and targets.shape == (32, 50)
    assert set(lengths.tolist()) == {8, 16, 24, 32}
    for b in range(50):
        for t in range(32):
            if t < lengths[b]:
                assert torch.equal(columns[t, b], images[targets[t, b], :, t % 8])
            else:
                assert targets[t, b] == tasks.PAD and not columns[t, b].any()
    assert torch.equal(targets != tasks.PAD, tasks.valid(lengths))


def test_digit_strips_follow_their_generator():
    images, labels = tasks.digits().train
    a, b, c = (tasks.digit_strips(images, labels, 5, (2, 6), generator(n)) for n in (0, 0, 1))
    assert torch.equal(a[0], b[0])
    assert a[0].shape != c[0].shape or not torch.equal(a[0], c[0])


def test_alphabet():
    letters = tasks.Alphabet()
    assert len(letters) == 27 and letters.end == 26
    assert letters.encode("abc") == [0, 1, 2, 26]
    assert letters.decode(torch.tensor([0, 1, 26, 5])) == ["a", "b"]
    assert letters.decode([0, 1]) == ["a", "b"]
    with pytest.raises(KeyError):
        letters.encode("É")


def test_pad_one_hot_valid():
    ids, lengths = tasks.pad([[1, 2, 3], [4]])
    assert ids.tolist() == [[1, 4], [2, -1], [3, -1]] and lengths.tolist() == [3, 1]
    assert tasks.valid(lengths).tolist() == [[True, True], [True, False], [True, False]]
    hot = tasks.one_hot(ids, 5)
    assert hot.shape == (3, 2, 5) and hot.dtype == torch.float32
    assert hot.sum().item() == 4 and hot[2, 1].sum() == 0 and hot[0, 1, 4] == 1


def test_batches_go_through_all_the_data():
    picks = list(tasks.batches(10, 4, 5, generator()))
    assert [len(p) for p in picks] == [4] * 5
    assert sorted(torch.cat(picks).tolist()) == sorted([*range(10)] * 2)
    assert all(torch.equal(a, b) for a, b in zip(picks, tasks.batches(10, 4, 5, generator()), strict=True))
    assert [len(p) for p in tasks.batches(3, 7, 2, generator())] == [7, 7]  # a batch larger than the data


@pytest.mark.parametrize(
    "a, b, distance",
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("ab", "ba", 2), ("abc", "abc", 0), ("", "", 0)],
)
def test_edit_distance(a, b, distance):
    assert tasks.edit_distance(a, b) == distance


def test_phoneme_error_rate():
    assert tasks.phoneme_error_rate([["K"], ["A", "B"]], [("K", "AE"), ("A", "B")]) == 0.25
    with pytest.raises(ValueError):
        tasks.phoneme_error_rate([["K"]], [])


@pytest.fixture
def copy(tmp_path, monkeypatch):
    for folder in ("text", "digits"):
        shutil.copytree(ROOT / "data" / folder, tmp_path / folder)
    monkeypatch.setenv("CVDL_DATA", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    "content", [b"", b"name\tlanguage\tsplit\n", b"h\nabc\tPolish\n", b"h\nabc\tPolish\tdev\n", b"h\n\xff\tx\ttest\n"]
)
def test_damaged_table(copy, content):
    (copy / "text/names.tsv").write_bytes(content)
    with pytest.raises(CourseError, match=r"names\.tsv"):
        tasks.names()


def test_damaged_digits(copy):
    path = copy / "digits/digits.npz"
    whole = path.read_bytes()
    for content in (b"", whole[:1000], b"no zip" * 100):
        path.write_bytes(content)
        with pytest.raises(CourseError, match=r"digits\.npz"):
            tasks.digits()
    np.savez(path, images=np.zeros((5, 8, 8), np.uint8), labels=np.zeros(5, np.uint8))
    with pytest.raises(CourseError, match=r"digits\.npz"):
        tasks.digits()


def test_missing_file(tmp_path, monkeypatch):
    monkeypatch.setenv("CVDL_DATA", str(tmp_path))
    with pytest.raises(CourseError, match=r"pronunciations\.tsv"):
        tasks.spellings()
