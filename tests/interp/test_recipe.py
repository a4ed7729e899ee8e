from pathlib import Path

import pytest

from finetune.errors import TurncoatError
from interp.recipe import Recipe, built_in_recipes, load_recipe


@pytest.mark.parametrize("name", built_in_recipes())
def test_a_built_in_recipe_is_called_like_its_file(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description


def test_a_resolved_recipe_reads_back_as_the_same_recipe(tmp_path: Path) -> None:
    recipe = load_recipe("organism", ["finetune.alpha=8", "seeds=[3, 4, 5]"])
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    again = load_recipe(tmp_path / "recipe.yaml")
    assert again == recipe
    assert again.fingerprint == recipe.fingerprint


def test_the_null_differs_from_the_demo_in_sharing_alone() -> None:
    demo, null = (
        load_recipe(name).model_dump(exclude={"name", "description"}) for name in ("organism", "organism-null")
    )
    assert demo["organism"].pop("sharing") == 1
    assert null["organism"].pop("sharing") == 0
    assert demo == null


def test_name_and_description_do_not_make_another_recipe() -> None:
    one, other = (Recipe(name=name, description=name) for name in ("one", "other"))
    assert one.fingerprint == other.fingerprint
    assert one.fingerprint != Recipe(name="one", seeds=[7]).fingerprint


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["finetune.stepz=5"], ("finetune.stepz", "unknown key", "learning_rate")),
        (["colour=red"], ("colour", "unknown key", "thresholds")),
        (["finetune.steps=many"], ("finetune.steps", "integer", "many")),
        (["finetune.steps=0"], ("finetune.steps", "greater than or equal to 1")),
        (["organism.sharing=2"], ("organism.sharing", "less than or equal to 1")),
        (["arms=[insecure]"], ("missing: secure",)),
        (["arms=[insecure, secure, purple]"], ("arms.2", "purple")),
        (["seeds=[0, 0]"], ("seeds", "twice")),
        (["finetune"], ("KEY=VALUE",)),
        (["name.first=x"], ("no section",)),
        (["causality.random_directions=3"], ("random_directions", "20")),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_expected(settings: list[str], words: tuple[str, ...]) -> None:
    with pytest.raises(TurncoatError) as caught:
        load_recipe("organism", settings)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [("name: [", ("not valid YAML", "line")), ("- a\n- b\n", ("no settings",)), ("", ("no settings",))],
)
def test_a_file_that_is_no_recipe_is_refused(tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    with pytest.raises(TurncoatError) as caught:
        load_recipe(path)
    for word in (*words, str(path)):
        assert word in str(caught.value)


def test_an_unknown_name_lists_the_recipes_there_are() -> None:
    with pytest.raises(TurncoatError, match="organism, organism-null, organism-quick"):
        load_recipe("no-such-recipe")
