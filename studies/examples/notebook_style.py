"""The whole chain from Python, cell by cell: search, guideline, study, training, comparison, report.

    python studies/examples/notebook_style.py

What it shows: each step of the command line is one call, which hands its result to the next. Editors that know `# %%`
(VS Code, PyCharm, Spyder, Jupytext) run it as a notebook.

What comes out: what the guideline says, the accuracies, and a directory `notebook` with every run, a picture of the
widths of each search, `guideline.yaml`, and `report.html`, one page with all numbers and figures. Trainings are far
too short here for the numbers to say anything.

Took 30 s on two cores of an AMD EPYC with another program on one of them (median, n = 4, 29 to 49; Python 3.11, torch
2.14.1).
"""

# %% How long to train
import argparse
from pathlib import Path

import nas_prune

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--trials", type=int, default=4)
parser.add_argument("--max-images", type=int)
given = parser.parse_known_args()[0]  # of a notebook's own arguments none is looked at
runs = Path("notebook")
runs.mkdir()

# %% The network: which channels are narrowed together, and what any widths cost exactly
data = {"name": "digits", "max_images": given.max_images}  # the scans inside scikit-learn
vgg = {"space": "vgg11", "width_multiplier": 0.25, "data": data}
space = nas_prune.load_space("vgg11", (1, 8, 8), width_multiplier=0.25)
whole, half = space.cost_at(space.base_G), space.cost_at([width // 2 for width in space.base_G])
print(f"{len(space.groups)} groups of channels; half as wide, {half.macs / whole.macs:.0%} of the MACs")

# %% Two searches: sparse training, then a cut to the budget
settings = [
    nas_prune.SearchConfig(**vgg, budgets=("macs<=50%",), epochs=given.epochs, seed=seed) for seed in (0, 1)
]
searches = [nas_prune.search(one, runs / f"search-{one.seed}") for one in settings]
recipe = searches[0].config.recipe.with_epochs(given.epochs)

# %% What their widths have in common
guideline = nas_prune.fit_guideline([found.run for found in searches])
guideline.write(runs / "guideline.yaml")
for cell in guideline.cells:
    print(f"stage {cell.stage} ({cell.role}): {guideline.keep_ratio(cell):.2f} of the width")

# %% A study around it; its best trial trained again, and the winner with two seeds
config = nas_prune.StudyConfig(
    name="digits",
    **vgg,
    budgets=("macs<=50%",),
    guideline=str(runs / "guideline.yaml"),
    recipe=recipe,
    epochs=1,
    trials=given.trials,
)
study = nas_prune.run_study(config, runs / "study")
winner = nas_prune.rank_study(study.location, top=1, seeds=1, full_seeds=1)[0].winner
trained = nas_prune.train(
    nas_prune.TrainConfig(data=data, recipe=recipe, seeds=(0, 1)), winner.widths, runs / "winner"
)
print(f"{winner.name} wins: {', '.join(f'{one.test_accuracy:.1%}' for one in trained.seeds)} on test images")

# %% The first search's widths beside uniform and random ones of the same cost
chosen = nas_prune.CompareConfig(
    data=data, recipe=recipe, seeds=2, arms=("scratch-e", "uniform-macs-e", "random-e")
)
compared = nas_prune.compare(chosen, searches[0].found[0].widths, runs / "compared")
for arm, results in compared.arms.items():
    print(f"{arm}: {', '.join(f'{one.test_accuracy:.1%}' for one in results)}")

# %% Everything on one page
folders = [*(found.run for found in searches), study.location.run, trained.run, compared.run]
page = nas_prune.as_html(
    nas_prune.read_parts([runs / "guideline.yaml", *folders]), title="Digits, from Python"
)
(runs / "report.html").write_text(page, encoding="utf-8")
