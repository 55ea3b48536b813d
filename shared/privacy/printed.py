"""Sentences about privacy in the words of a run's page; `claims` has them among all others."""

REPORT_LINES = {
    "The point at ε …, seed …… spent …: more than its target.": (
        "simulations.report.tables.privacy_rows"
    ),
    "Above the dashed line the noise is larger than the signal": (
        "simulations.report.rounds.noise_figure"
    ),
    "Claims, ledgers and files disagree: do not rely on anything on this page.": (
        "simulations.verify.run.verify_run"
    ),
    "Every ε was recomputed from the ledgers, and every sealed file is as it was sealed.": (
        "simulations.verify.run.verify_run"
    ),
    "Measured for the evaluator on private data; not covered by ε,": (
        "shared.privacy.sentences.evaluators"
    ),
    "… against privacy budget; the tables below hold the same numbers.": (
        "simulations.report.curve.panel_figure"
    ),
    "The accuracy figures are computed from people's data without noise. They are not "
    'covered by the budget and are not for release (recorded as: {{ statuses | join("; ")'
    " }}).": ("shared.leaves.sections"),
    "{{ budget }}. Means with 95% intervals. HR@10: how often the item that a person "
    "chose next is among the first ten, ranked {{ ranked }}; “all items”: {{ full }}. "
    "NDCG@10: the same, weighing higher places more. Among sampled items no figure is "
    "lower than among all of these.": ("simulations.report.page.write_report"),
    "An interval over users tells how much another sample of people would vary, for the "
    "one model trained; one over users and seeds counts besides how much training and its"
    " noise vary. Whether two rows differ stands in the next table, not in whether their "
    "intervals overlap. Of the reference points, popularity, centralized and same model "
    "read people's data without noise and are not private; zero-shot learns from none of "
    "these people (of movielens-latest-small it does: the weights of its start were learned "
    "there); local only never leaves the device. Each reference was computed once, of one seed.": (
        "shared.leaves.sections"
    ),
    "The model's metric minus the reference's, with its 95% interval, and the share of "
    "the same difference that the noised points' model has without noise. A share is "
    "given where both are above; more than 100% is chance, or another seed. “Its own start”"
    " is the model with what it released once, its own histogram among it, before the first "
    "round; “its own histogram” the released list alone.": ("simulations.compare.without_noise"),
    "These figures came from devices with noise, were paid for from the budget and stand "
    "in the ledger: they may be told to others. Each device ranked the item that its "
    "person chose last but one, which nothing was trained on, {{ ranked }}, and its hit and gain "
    "were summed with noise. The 95% intervals count that noise and, where not everybody was "
    "asked, the sample.": ("shared.privacy.contribution.evaluation.estimate_metrics"),
    "ε is computed from the ledger by three accountants. PLD is the claim; RDP is a "
    "looser bound on the same mechanism; PRV is an independent implementation that should"
    " agree with PLD closely. Each row bounds what can be learned of one unit: of a "
    "person where the unit is “user”, of one window where it is “example”, never one for "
    "the other. Loss above ε is the probability that the privacy loss exceeds ε, which δ "
    "is not. Groups are ε of so many units together at the same δ. The columns on attacks"
    " say the most units with data that any attack can find while wrongly accusing {{ "
    "false_alarm }} of the others: first by whom the budget is against, whatever else "
    "they know; then, where the budget rests on a secret sample, by someone who knows "
    "which noised sums a unit was in, for a unit in the expected number of them and in "
    "the most. Both follow from ε and δ; real attacks may do far worse than that.": (
        "shared.privacy.ledger.spent.spent"
    ),
    "Every release was written to a ledger before it happened. Each line carries the hash"
    " of the line before it, and the last hash, the head, stands in": (
        "simulations.verify.run.verify_run"
    ),
    ", whose seal signs it with every other file of the run. To recompute every ε on this"
    " page from the ledgers, run": ("simulations.verify.run.verify_run"),
    "where DIR is the folder of the run, KEY the public key that the operator gave you by "
    "another way (a key that comes with the files vouches for nothing), and FILE a new page "
    "like this one that begins with what was found. It fails if a line was removed, reordered "
    "or edited, if the end was cut off, if this run claims less than its ledger shows, or if "
    "a file was put in place of the one that was sealed.": ("simulations.verify.run.verify_run"),
    "Signal is the length of the users' summed contribution before noise (under distributed "
    "trust an estimate from the noised sum, 0 where it shows none), noise the "
    "length of what was added to it. Both are lengths over all trained numbers, so the "
    "ratio grows with how many there are and says nothing of the direction: noise may be "
    "several times the signal and something still be learned, by averaging over rounds. "
    "Each is the median over rounds, the ratio that of the medians; for the evaluator "
    "only.": ("shared.leaves.sections"),
}
