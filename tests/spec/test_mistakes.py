"""Every way to get a spec wrong, and the sentence that a person reads: what, got, do."""

from __future__ import annotations

import pytest

from prolu.client.wire import RunCreate, SweepCreate
from prolu.spec import Mistake, SpecError, SweepSpec, validate

NAN = float("nan")
BIG = 2**63


def test_the_run_that_the_others_spoil_is_valid(run, mistakes):
    assert mistakes(run) == []


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("sae.d_sae", 0, "must be at least 1; got 0."),
        ("sae.d_sae", "10", "must be a whole number; got '10', which is text; write digits without quotes."),
        ("sae.d_sae", True, "must be a whole number; got true."),
        ("sae.d_sae", 1.5, "must be a whole number; got 1.5."),
        ("sae.d_sae", None, "must be a whole number; got null."),
        ("data.tokens", 1e6, "must be a whole number; got 1000000.0; write 1000000."),
        ("sparsity.coefficient", NAN, "must be a finite number; got NaN."),
        ("sparsity.coefficient", float("inf"), "must be a finite number; got Infinity."),
        ("sparsity.coefficient", -1, "must be at least 0; got -1."),
        ("sparsity.coefficient", "1e-3", "must be a number; got '1e-3', which is text; write digits without quotes."),
        ("sparsity.coefficient", True, "must be a number; got true."),
        ("sparsity.coefficient", 10**400, "must be a number; got " + "1" + "0" * 79 + "…."),
        ("training.optimizer.learning_rate", 0, "must be at least 1e-30; got 0."),
        ("training.optimizer.beta1", 1, "must be less than 1; got 1."),
        ("training.seed", BIG, f"must be less than {BIG}; got {BIG}."),
        ("training.dead_window_tokens", BIG, f"must be less than {BIG}; got {BIG}."),
        ("resources.gpus", 2, "must be 0, or 0.01 to 1 in hundredths; got 2.0."),
        ("resources.gpus", -1, "must be 0, or 0.01 to 1 in hundredths; got -1.0."),
        ("resources.gpus", 0.005, "must be 0, or 0.01 to 1 in hundredths; got 0.005."),
        ("resources.gpus", 0.125, "must be 0, or 0.01 to 1 in hundredths; got 0.125."),
        ("version", 2, "must be 1; got 2."),
        ("version", True, "must be the whole number 1; got true."),
        ("version", 1.0, "must be the whole number 1; got 1.0."),
        ("version", "1", "must be 1; got '1'."),
        (
            "data.hook",
            "resid_mid",
            "must be 'resid_pre', 'resid_post', 'attn_out', 'mlp_out' or 'mlp_hidden'; got 'resid_mid'.",
        ),
        ("name", None, "must be text; got null."),
        ("name", "x" * 201, "must have at most 200 characters; got 201."),
        ("name", "a\tb", "must be text without line breaks, tabs or other control characters; got 'a\\tb'."),
        ("name", "a\x00", "must be text without line breaks, tabs or other control characters; got 'a\\x00'."),
        *(
            (
                "name",
                f"a{odd}b",
                f"must be text without line breaks, tabs or other control characters; got {f'a{odd}b'!r}.",
            )
            for odd in "\x80\x85\x9f\u2028\u2029\u202a\u202e\u2066\u2069"
        ),
        ("name", "\ud800", "must be text without half a surrogate pair; got '\\ud800'."),
        ("data.model", "", "must have at least 1 character; got ''."),
        ("data.revision", "a\nb", "must be text without line breaks, tabs or other control characters; got 'a\\nb'."),
        ("sparsity", None, "must be a mapping of fields; got null."),
        ("sparsity", [], "must be a mapping of fields; got []."),
        ("training.optimizer", 7, "must be a mapping of fields; got 7."),
        ("sae.estimator", "ste", "must be a mapping of fields; got 'ste'."),
        (
            "sae.decoder_init_norm",
            0.5,
            (
                "is 0.5, but sae.decoder_norm 'unit' keeps every row at norm 1; "
                "leave it at 1 or choose decoder_norm: free."
            ),
        ),
        ("sparsity.warmup_steps", 101, "is 101, more than the 100 steps of the run; shorten it or train longer."),
        (
            "training.lr_warmup_steps",
            101,
            "and lr_decay_steps are 101 steps together, more than the 100 of the run; shorten them or train longer.",
        ),
        (
            "training.lr_decay_steps",
            101,
            "and lr_warmup_steps are 101 steps together, more than the 100 of the run; shorten them or train longer.",
        ),
        (
            "data.skip_positions",
            128,
            "is 128, which leaves nothing of a context of 128 tokens; skip fewer or make context_length longer.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_its_place(path, value, sentence, edit, mistakes):
    assert mistakes(edit(path, value)) == [("/" + path.replace(".", "/"), f"{path} {sentence}")]


@pytest.mark.parametrize("gpus", [0, 1, 0.0, 0.01, 0.07, 0.29, 0.57, 1.0])
def test_hundredths_of_a_gpu_can_be_asked_for(gpus, edit, mistakes):
    assert mistakes(edit("resources.gpus", gpus)) == []


@pytest.mark.parametrize("name", ["été", "名前", "\u05d0\u05d1", "a\u00a0b", "\u2027", "\u2030", "💡", "a\u200db"])
def test_names_may_be_in_any_script(name, edit, mistakes):
    assert mistakes(edit("name", name)) == []


def _unbounded_integers(schema):
    """Places in a JSON schema that take a whole number of any size."""
    if isinstance(schema, list):
        return [place for item in schema for place in _unbounded_integers(item)]
    if not isinstance(schema, dict):
        return []
    found = [place for key, item in schema.items() for place in (f"{key}/{rest}" for rest in _unbounded_integers(item))]
    bounded = {"maximum", "exclusiveMaximum", "const", "enum"} & schema.keys()
    return found + ([""] if schema.get("type") == "integer" and not bounded else [])


@pytest.mark.parametrize("model", [RunCreate, SweepCreate])
def test_every_whole_number_has_an_upper_bound(model):
    assert _unbounded_integers(model.model_json_schema()) == []


def test_more_active_features_than_features_is_told_at_the_number_that_was_written(edit, mistakes):
    assert mistakes(edit("data", {"kind": "synthetic", "n_features": 4})) == [
        ("/data/n_features", "data.n_features is 4, less than active_features, 8; raise it or lower those.")
    ]
    assert mistakes(edit("data", {"kind": "synthetic", "active_features": 300})) == [
        ("/data/active_features", "data.active_features is 300, more than the 256 n_features; lower it.")
    ]


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("trainig", {}, "trainig is not a field here; did you mean 'training'?"),
        (
            "sparsity.coeficient",
            1,
            "sparsity.coeficient is not a field when sparsity.kind is 'l1'; did you mean 'coefficient'?",
        ),
        (
            "training.optimizer.lr",
            1,
            (
                "training.optimizer.lr is not a field when training.optimizer.kind is 'adam'; "
                "known are beta1, beta2, epsilon, kind, learning_rate."
            ),
        ),
        (
            "sae.estimator.width",
            1,
            "sae.estimator.width is not a field when sae.estimator.kind is 'ste'; only kind is known.",
        ),
        ("sparsity.kind", "l2", "sparsity.kind is 'l2'; known are l0, l1, l1_decoder_norm, none, sqrt_l1, tanh."),
        ("sparsity.kind", 3, "sparsity.kind is 3; known are l0, l1, l1_decoder_norm, none, sqrt_l1, tanh."),
        (
            "sparsity.kind",
            {"a": 1},
            'sparsity.kind is {"a": 1}; known are l0, l1, l1_decoder_norm, none, sqrt_l1, tanh.',
        ),
        ("data.corpus.kind", "pyton_docs", "data.corpus.kind is 'pyton_docs'; did you mean 'python_docs'?"),
        ("sae.estimator.kind", "st", "sae.estimator.kind is 'st'; did you mean 'ste'?"),
        ("training.optimizer.kind", "sgd", "training.optimizer.kind is 'sgd'; known are adam, adamw, muon, radam."),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(path, value, sentence, edit, mistakes):
    assert mistakes(edit(path, value)) == [("/" + path.replace(".", "/"), sentence)]


def test_a_missing_field_is_named(run, mistakes):
    del run["sae"]["d_sae"]
    assert mistakes(run) == [("/sae/d_sae", "sae.d_sae is missing; add it.")]


def test_a_missing_union_says_what_it_can_be(run, mistakes):
    del run["sae"]
    assert mistakes(run) == [
        (
            "/sae",
            (
                "sae is missing; add it, with kind batch_topk, gated, jumprelu, matryoshka_batch_topk, "
                "prolu, prolu_hybrid, relu or topk."
            ),
        )
    ]


def test_a_missing_kind_says_what_to_choose(edit, mistakes):
    assert mistakes(edit("sparsity", {"coefficient": 1})) == [
        ("/sparsity", "sparsity.kind is missing; choose l0, l1, l1_decoder_norm, none, sqrt_l1 or tanh.")
    ]


def test_every_mistake_of_a_document_is_told_at_once(edit, mistakes):
    document = edit("sae.d_sae", 0)
    document["sparsity"]["coefficient"] = -1
    document["trainig"] = {}
    assert [pointer for pointer, _ in mistakes(document)] == ["/sae/d_sae", "/sparsity/coefficient", "/trainig"]


def test_a_key_that_is_called_like_a_tag_is_not_taken_for_one(edit, mistakes):
    document = edit("sae.prolu", {"d_sae": 5})
    document["sae"]["d_sae"] = 0
    document["sae"]["estimator"] = {"kind": "ste", "ste": 1}
    assert [pointer for pointer, _ in mistakes(document)] == ["/sae/d_sae", "/sae/estimator/ste", "/sae/prolu"]


@pytest.mark.parametrize(
    ("extra", "pointer", "sentence"),
    [
        (
            {"grid": {"sparsity.coefficient": []}},
            "/grid/sparsity.coefficient",
            "grid.sparsity.coefficient must have at least 1 item; got [].",
        ),
        (
            {"grid": {"sparsity.coefficient": 3}},
            "/grid/sparsity.coefficient",
            "grid.sparsity.coefficient must be a list; got 3.",
        ),
        (
            {"grid": {"Sparsity": [1]}},
            "/grid/Sparsity",
            "the key grid.Sparsity must be a place in a run such as 'sparsity.coefficient'; got 'Sparsity'.",
        ),
        ({"grid": {5: [1]}}, "/grid/5", "the key grid.5 must be text; got 5."),
        (
            {"grid": {"a.b": [1, [2, NAN]]}},
            "/grid/a.b/1/1",
            "grid.a.b.1.1 must be a finite number; got nan.",
        ),
        ({"variants": [{"nam": "x"}]}, "/variants/0/name", "variants.0.name is missing; add it."),
        ({"variants": ["relu"]}, "/variants/0", "variants.0 must be a mapping of fields; got 'relu'."),
        (
            {"variants": [{"name": "x", "set": {"a/b~c": 1}}]},
            "/variants/0/set/a~1b~0c",
            "the key variants.0.set.a/b~c must be a place in a run such as 'sparsity.coefficient'; got 'a/b~c'.",
        ),
        ({"variants": {"a": 1}}, "/variants", 'variants must be a list; got {"a": 1}.'),
        ({"max_concurrent": 0}, "/max_concurrent", "max_concurrent must be at least 1; got 0."),
        ({"max_concurrent": 2**31}, "/max_concurrent", "max_concurrent must be at most 1000000; got 2147483648."),
        ({"base": None}, "/base", "base must be a mapping; got null."),
        (
            {"base": {"name": "a\x00"}},
            "/base/name",
            "base.name has a NUL or half a surrogate pair, which no database stores; remove it.",
        ),
        ({"base": {"data": {3: 1}}}, "/base/data", "base.data has a key that is not text; put it in quotes."),
        (
            {"base": {"data": {1}}},
            "/base/data",
            "base.data must be a number, text, true, false, null, a list or a mapping.",
        ),
        ({"gird": {}}, "/gird", "gird is not a field here; did you mean 'grid'?"),
    ],
)
def test_a_wrong_sweep_is_pointed_at(extra, pointer, sentence, run, mistakes):
    assert (pointer, sentence) in mistakes({"base": run, **extra}, SweepSpec)


def test_a_sweep_cannot_hide_a_tower_of_lists(mistakes):
    tower: list = []
    for _ in range(10_000):
        tower = [tower]
    assert mistakes({"base": {"data": tower}}, SweepSpec) == [
        ("/base/data", "base.data is nested more than 32 deep; make it flatter.")
    ]


def test_the_place_is_right_inside_a_request_too(edit, run, mistakes):
    assert mistakes({"spec": edit("sae.d_sae", 0)}, RunCreate) == [
        ("/spec/sae/d_sae", "spec.sae.d_sae must be at least 1; got 0.")
    ]
    assert mistakes({"spec": edit("sparsity.warmup_steps", 101)}, RunCreate)[0][0] == "/spec/sparsity/warmup_steps"
    assert mistakes({"spec": {"base": run}, "priority": 101}, SweepCreate) == [
        ("/priority", "priority must be at most 100; got 101.")
    ]


def test_a_field_name_that_is_no_text_is_refused(run, mistakes):
    assert mistakes({**run, 5: 1}) == [("/5", "5 is a number; the names of fields are text.")]


def test_thousands_of_mistakes_are_told_as_fifty_and_a_count(run, mistakes):
    told = mistakes({**run, **{f"field {number}": 1 for number in range(10_000)}})
    assert len(told) == 51
    assert told[-1] == ("", "The document has 9950 more mistakes; correct these first.")


def test_names_cannot_steer_the_terminal_nor_flood_it(run, mistakes):
    told = mistakes({**run, "\x1b[31m": 1, "x" * 100_000: 1})
    assert [sentence for _, sentence in told if not sentence.isprintable() or len(sentence) > 400] == []


def test_a_pointer_escapes_as_rfc_6901_says():
    assert Mistake(("a/b", "~", 0), "").pointer == "/a~1b/~0/0"
    assert Mistake((), "").pointer == ""
    assert Mistake(("a", 0, "b"), "").path == "a.0.b"


def test_a_seed_that_stands_twice_is_told_where_it_stands_again(run, mistakes):
    assert mistakes({"base": run, "seeds": [3, 4, 5]}, SweepSpec) == []
    assert mistakes({"base": run, "seeds": [3, 0, 0, 3]}, SweepSpec) == [
        ("/seeds/2", "seeds.2 is 0, as is seeds.1; remove one of the two.")
    ]


def test_a_key_that_yaml_reads_as_true_or_false_is_named_as_it_stands():
    with pytest.raises(SpecError) as caught:
        validate({"base": {False: [b"x"]}}, SweepSpec)
    assert [mistake.location for mistake in caught.value.mistakes] == [("base", False), ("base", False, 0)]
    assert caught.value.mistakes[0].sentence == "the key base.False must be text; got false."
