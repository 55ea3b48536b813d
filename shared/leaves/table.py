"""The table of all that leaves, the rest of which is in `kept`, and what its page says first."""

from __future__ import annotations

STATUSES = {
    "public": "follows from settings and what was agreed, or is about nobody",
    "covered": "of people, with the noise of the ledger entry that is named",
    "trusted server": (
        "of people, or of who takes part, without all of that noise: seen by the server, which "
        "`central` trust trusts with it, and kept by nothing here beyond its round unless said"
    ),
    "not covered": "seen by the server, and no ledger counts it",
    "evaluator only": "of people without noise: for whoever runs a simulation, and nobody else",
    "local only": "stays where it is made",
}

# A section: # key | title | from -> to. A row: name | status | why; see `Leaf`.
TABLE = """
# request | A request: record `config`, and the adapter | server -> device
round | public | which round it is about
users | public | the people that delta and q rest on, as agreed
settings | public | the point's settings; no hash of people's data is among them
policy | public | the signed promise
schema | public | a digest of the adapter's names and shapes
phase | public | which held-out item an evaluator asks for
release | public | what a secure sum is of, with a stage of one
content | covered: update | with a stage of a secure sum: a digest of adapter or coordinates
sealed | trusted server | of a secure sum: its session, the devices' public keys, who is in it,
  under their signatures; for each device shares that only it can open
merge | public | whether sums over several clients are welcome: in simulations alone
clip | covered: update | the clipping norm, which follows noised bits where it adapts, else 0
arrays.** | covered: update | the global adapter: what was released so far, and nothing else; with
  a request for moments the coordinates that they are asked in, of histogram and public texts

# update | A reply to a request for an update, a histogram, moments or metrics | device -> server
update.vector | trusted server | in a secure sum numbers that look like any others, see
  `docs/secure-aggregation.md`; elsewhere one person's own clipped contribution: under `local` trust
  with that device's own noise (covered: update, histogram of its ledger), of a histogram or moments
  in a simulation alone
metrics.weight | public | 1: every person weighs the same
metrics.norm | trusted server | the length of that vector; under `local` trust of the noised one; 0
  in a secure sum
metrics.bits | trusted server | whether the update was within the clip, where it adapts; else, and
  in a secure sum, 0
metrics.ring | public | bits of the ring that is summed in; 0: none
config.schema | public | as it was asked for
config.contributors | trusted server | that this node takes part: the node itself, or in a
  simulation those that were summed
config.round | public | as it was asked for
config.policy | public | a digest of the policy that was sent

# letter | A reply to a stage of a secure sum | device -> server
config.letter | trusted server | public keys and a signature; or shares that only other devices can
  open; or a signature under who is in the sum; or one share for each neighbour, of the secret that
  takes off one mask
config.contributors | trusted server | the node itself
config.round | public | as it was asked for
config.policy | public | a digest of the policy that was sent

# ranks | A reply to an evaluator | device -> server
metrics.sampled | evaluator only | exact: of simulated people; no real device gives it
metrics.full | evaluator only | as the one above
config.contributors | evaluator only | whose they are
config.round | public | as it was asked for
config.policy | public | a digest of the policy that was sent

# declined | A reply of a device that takes no part | device -> server
config.declined | not covered | one word, `policy` or `owner`: of the policy, the clock, the owner's
  caps and the device's own record, never of its data; the sentence stays in the device's log
config.contributors | trusted server | the node itself
config.round | public | as it was asked for
config.policy | public | a digest of the policy that was sent

# error | A reply of a device that failed | device -> server
reason | not covered | the same sentence whatever happened; that it failed may depend on its data

# envelope | What Flower writes on every message | both ways
run_id | public | Flower's number of the run
message_id | public | a digest of the message, whose content is on this page
reply_to_message_id | public | which request is answered
src_node_id | trusted server | who answers
dst_node_id | trusted server | who is asked
src_task_id | public | Flower's number of the server's process
dst_task_id | public | Flower's number of a process
message_type | public | which kind of request
group_id | public | empty
created_at | not covered | when, by the device's clock: how long it worked tells roughly how much
  data it has
delivered_at | not covered | as the one above
ttl | public | how long the message is kept

# adapter | An adapter file: `adapters/NAME.safetensors` | server -> reader
tensor.** | covered: update | the released iterate; of a point without a budget (`eps-inf`) nothing
  covers it, and it is the evaluator's
metadata.settings | public | the point's settings
metadata.promise | public | the guarantees with what was spent, by the server's ledger or, where
  there is none, by the devices'

# histogram | The released histogram: `points/NAME.popularity.safetensors` | server -> reader
tensor.counts | covered: histogram | as it was noised

# moments | Which items people have together: `points/NAME.moments.safetensors` | server -> reader
tensor.total | covered: moments | as it was noised
tensor.** | covered: histogram | its coordinates, of histogram and texts: Q is the operator's word

# ledger | A ledger: `ledger-*.jsonl`; a device's own, `ledger.jsonl` and `participation.jsonl`,
  stays | server -> reader
content.format | public | the version
content.unit | public | of the promise
content.relation | public | of the promise
content.trust | public | of the promise
content.adversary | public | of the promise
content.delta | public | of the promise
content.group | public | of the promise
content.budget | public | of the promise
content.policy | public | the hash of the settings
content.created | public | when the run began
content.identity | public | random
content.index | public | a count of the entries; on a server one a planned release, whoever answered
content.round | public | of the release; on a device in which rounds it took part, which stays there
content.release | public | its kind
content.event.** | public | mechanism, noise and sampling, which follow from settings and users
hash | public | of the lines, whose content is above

# policy | A policy: sent with every request, kept as `points/NAME.policy.json` | server -> device,
  reader
policy.** | public | follows from settings, users, the operator's key and the time
signature | public | by the operator

# settings | Settings: `config.toml`, `points/NAME.toml`, `config` in results.json | server ->
  reader
** | public | what was asked for, with digests of catalogue and weights; whoever chose them by
  looking at people's data released that

# results | results.json | simulation -> evaluator; what is public or covered -> reader
schema | public | the version
starling | public | the version
complete | public | whether all planned points are there
name | public | of a real run
seal.** | public | digests of the files on this page, the operator's key and signature
environment.** | public | versions and the machine, of the process that wrote the file last
data.spec | public | a name
data.name | public | a name
data.users | public | how many people there are
data.items | public | how many items there are
data.negatives | public | a setting
data.items_without_text | public | follows from the items
data.interactions | evaluator only | an exact count over people
data.evaluated_users | evaluator only | an exact count over people
data.negatives_drawn.least | evaluator only | follows from one person's number of interactions
data.negatives_drawn.median | evaluator only | follows from people's numbers of interactions
data.negatives_drawn.certain | evaluator only | an exact count over people
points[].epsilon_target | public | of the promise
points[].unit | public | of the promise
points[].relation | public | of the promise
points[].trust | public | of the promise
points[].adversary | public | of the promise
points[].delta | public | of the promise
points[].group_size | public | of the promise
points[].epsilon | public | follows from the ledger
points[].epsilon_rdp | public | follows from the ledger
points[].epsilon_prv | public | follows from the ledger
points[].meaning.** | public | follows from the ledger
points[].noise_multiplier | public | follows from settings and users
points[].histogram_noise_multiplier | public | follows from settings and users
points[].moments_noise_multiplier | public | follows from settings and users
points[].metrics_noise_multiplier | public | follows from settings and users
points[].clipping_norm | public | a setting
points[].sampling_probability | public | follows from settings and users
points[].histogram_sampling | public | follows from settings and users
points[].moments_sampling | public | follows from settings and users
points[].metrics_sampling | public | follows from settings and users
points[].steps | public | a setting
points[].updates | public | follows from settings
points[].correlation | public | follows from settings and users
points[].correlation.* | public | follows from settings and users
points[].releases.** | public | what was planned
points[].opened.* | not covered | `distributed` trust: whether enough answered, who is not hidden
points[].rounds | public | a setting
points[].cohort | public | the expected cohort, not an actual one
points[].seed | public | of a simulation: whoever has it can subtract its noise
points[].adapter | public | a name
points[].noise | public | where it came from
points[].trained_parameters | public | follows from settings
points[].communication_bytes.* | public | releases x expected cohort x bytes of one, whoever came
points[].clipping_norms[] | covered: update | follows from noised bits
points[].clipping_bits[] | covered: update | as they were noised; null: lost, or kept back
points[].released_metrics.** | covered: metrics | of noised sums alone
points[].ledger.* | public | of a server: name, length, head and seal; of devices (`local` trust):
  how often they took part all together, which nothing rests on
points[].example.ledger.* | evaluator only | length and head over all devices: how often people took
  part in all, which the amplification of the user-level promise beside it needs secret
points[].example.epsilon_target | public | of the promise
points[].example.epsilon | evaluator only | what the device that was asked most often spent: as the
  row above
points[].example.epsilon_* | evaluator only | as the row above
points[].example.meaning.** | evaluator only | as the row above
points[].example.** | public | as the same words of the other promise
points[].metrics.* | evaluator only | exact
points[].validation.* | evaluator only | exact
points[].metrics_status | public | says so
points[].history[].round | public | a number
points[].history[].* | evaluator only | actual cohorts, failures, exact norms and metrics of a round
points[].environments[].* | public | versions and the machine, of every process that worked on it
points[].seconds | evaluator only | how long it took depends on who was drawn
references.*.environments[].* | public | as of a point
points[].references.** | evaluator only | exact metrics of the released histogram alone, and of the
  model before its first round
points[].compared.** | evaluator only | exact differences from references, over people
compared[].** | evaluator only | the same over seeds
references.*.seconds | evaluator only | depends on people's data
references.*.** | evaluator only | exact, and trained without noise
config.** | public | the settings

# run | A run's folder, file by file | server
config.toml | public | the settings
results.json | evaluator only | holds exact metrics: see above for each field
results.* | evaluator only | the points of results.json as a table
online.* | evaluator only | of an online run: regret, clicks, who is there, exact; and the promises
report.html | evaluator only | shows results.json
curve.png | evaluator only | shows exact metrics
ledger-*.jsonl | public | see above
adapters/*.safetensors | covered: update | see above
devices/** | evaluator only | ledgers of simulated devices: who took part in which round
personal/*.sqlite | local only | virtual devices' own tensors
points/data.json | local only | a digest of people's data and the salt without which it tells
  nothing; the folder in which the run was started
points/*.initial.safetensors | public | drawn at random, before anybody's data
points/*.toml | public | the settings
points/*.policy.json | public | see above
points/*.popularity.safetensors | covered: histogram | see above
points/*.moments.safetensors | covered: moments | see above
points/*.public.safetensors | public | the items' texts in numbers
points/*.asked.jsonl | trusted server | who was asked in which round, where noise counts on how
  often; kept
points/*.noise.key | local only | whoever has it can subtract correlated noise
points/*.checkpoint | local only | see below
points/*.environments.json | local only | what computed the point so far: results.json says it
points/*.outcome.json | local only | what results.json says of a point, before it is sealed, and
  where everyone's held-out item ranks
points/*.sealed.json | local only | the same, sealed
points/reference-*.json | local only | what results.json says of a reference, and everyone's ranks
points/reference-same_model/** | local only | files of the run that a reference is, while it is at
  work
.lock | public | empty

tensorboard/** | evaluator only | what a tracker is told, see there: of whoever asked for it

# tracker | What a tracker is told (`--track`, `Run.track`) | a run -> the tracker's store; of a
  real run what is public or covered alone
settings.** | public | the point's
point/epsilon* | public | follows from the ledger
point/delta | public | of the promise
point/group_size | public | of the promise
point/example_delta | public | of the other promise
point/example_epsilon | evaluator only | as in results.json
point/noise_multiplier | public | follows from settings and users
point/clipping_norm | public | a setting
point/sampling_probability | public | follows from settings and users
point/rounds | public | a setting
point/cohort | public | the expected cohort, not an actual one
point/seed | public | a setting
point/trained_parameters | public | follows from settings
point/bytes_* | public | releases x expected cohort x bytes of one, whoever came
point/seconds | evaluator only | how long it took depends on who was drawn
point/users | evaluator only | an exact count over people
point/*@10* | evaluator only | exact
point/*mrr* | evaluator only | exact
rounds/epsilon | public | what the ledger shows up to a round, which were planned
rounds/released_* | covered: metrics | of noised sums alone
rounds/* | evaluator only | participants, failures, exact norms and metrics of a round
curve.png | evaluator only | shows exact metrics
report.html | evaluator only | shows results.json
results.csv | evaluator only | the points of results.json as a table

# checkpoint | `points/NAME.checkpoint`: what a server keeps between rounds | stays
tensor.popularity | covered: histogram | as it was released
tensor.moments | covered: moments | as it was released
tensor.basis.** | covered: histogram | the coordinates that those are in
tensor.** | covered: update | iterates and moments: what was released, and what follows from it
state.round_number | public | a count
state.averaged | public | a count
state.best_score | covered: metrics | the noised metric; of a run without a budget it is exact, and
  the evaluator's
state.ledger[] | public | length and head
state.bits[] | covered: update | as they were noised
state.clips[] | covered: update | follows from noised bits
state.metrics[] | covered: metrics | as they were released
state.metrics[].** | covered: metrics | as they were released
state.silent | not covered | that the run stopped because a stretch of rounds held nothing
state.history[] | public | empty on real nodes
state.history[].* | evaluator only | of a simulation: actual cohorts and exact norms

# enrolment | What a node sends to join: `POST /enrol`; catalogue, policy and releases it only asks
  for | device -> server
token | public | random; good for one node
key | trusted server | by which this node is known from then on: who is enrolled is seen by the
  server, and from which address
"""

INTRODUCTION = """\
# What leaves

Everything that leaves a device or a server, or is kept by one, and its status. Written from
`shared/leaves`, not by hand: `python -m shared.leaves docs/what-leaves.md`. Tests run
simulations and real devices and fail on any field, file or line of a log that has no row here.

## What the server sees

Of a person who takes part, and besides that a node is asked, answers or declines, and how long it
takes:

- **`central` trust on real nodes**: exact sums, each over as many people at least as the policy
  says, of clipped updates, histograms, moments and metrics; of one person numbers that look like
  any others, by secure aggregation, within what that promises (`docs/secure-aggregation.md`).
  Where it is off (`federation.secure_aggregation`), or a rule makes something else of updates than
  their sum (`flexlora`): the person's own clipped update and their share of metrics; no histogram
  and no moments, which would name the person's items: a device declines them.
- **`central` trust in a simulation**: one process is server and devices.
- **unit `example` under `central` trust on real nodes**: the person's own update.
- **unit `example` under `local` trust, and `both`**: messages that hold that device's own noise.
  Under `both` their sum is then noised again.
- **`distributed` trust**: sums with all devices' noise, and who took part; on real nodes by secure
  aggregation, in a simulation the one process sees everything.

What a server *does* depends on the data of nobody. On whether somebody's device is there it depends
in three ways. A run does not start with fewer devices than it was agreed to rest on. A request for
a sum waits for up to two minutes while fewer nodes are connected than it needs. And a run on
real nodes stops if in a stretch of at least three rounds, or in all rounds up to the last one since
it was started, in which at least ten answers were to be expected, not one counted. That says that
devices are gone or decline; that a run goes on says that somebody answered.

## Status

"""
