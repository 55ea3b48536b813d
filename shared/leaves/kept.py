"""The rest of the table: what is made of a run for others, what stays, what is written to logs."""

from __future__ import annotations

# As `shared.leaves.table.TABLE`.
KEPT = """
# exported | An adapter for other libraries: the folder that `starling export --to peft` writes,
  FILE and what is in it | reader of a run -> whoever is given the folder
adapter_model.safetensors:tensor.** | covered: update | PEFT's pairs of the released iterate, under
  its names
adapter_model.safetensors:metadata.format | public | what writes such files
adapter_config.json:** | public | PEFT's settings: rank, layers, what the base model is called
starling.safetensors:tensor.read.** | public | of the base model and its instruction alone
starling.safetensors:tensor.** | covered: update | the rest of the released iterate: its item bias
  follows from the histogram, too (covered: histogram), and its tables from moments
starling.safetensors:metadata.about.promise.** | public | as the adapter's file carries it
starling.safetensors:metadata.about.** | public | version, the model's settings, a digest of the
  catalogue; no folder of whoever ran it
README.md:How well it ranks | evaluator only | of a simulation: exact figures on people's test
  items, and the card says that they are not for release. Of a real run what was released (covered:
  metrics), or nothing
README.md:What it was trained on | public | the log's name, how many people and items
README.md:** | public | settings, promise and sentences about it

# search | A private search's folder, beside its runs: `starling tune --private`; of a
  simulation | whoever runs it -> reader
tune.json:** | public | what is searched, every value and budget fixed before the first run
trials.json:** | covered: metrics | the released figures of all runs
best.toml | covered: metrics | the settings that these figures chose
chosen.safetensors:** | covered: update | the chosen run's adapter, with what all runs cost
total.json:trials | covered: metrics | each run's values, released figure and ledger
total.json:chosen | covered: metrics | which run has the best of these figures
total.json:** | public | the budget, and what all runs cost together; who sealed it
.lock | local only | empty

# server | A server's folder, beside its run's | stays
server.toml, ca.pem, server.pem, catalogue.json, releases/** | public | who it is, and what was
  released
ca.key, server.key | local only | of its certificate
invitations/** | local only | hashes of tokens, the nodes that used them, and which were revoked
superlink/declined.json | not covered | how many devices declined in a round, by their word: what
  replies said, see above; counts alone, for the operator
superlink/** | trusted server | Flower's database and logs: who is enrolled and connected, and
  messages until they are fetched

# device | A device's state folder | stays
agreement.json | local only | the policy that was accepted last
caps.toml | local only | the owner's limits
sums.json | local only | which stage of which secure sum was answered last
identity.pem | local only | the key by which other devices know this one; its public half goes into
  every secure sum
participation*.jsonl | local only | in which rounds it took part, one file a run
ledger*.jsonl | local only | what its own noise covered, one file a run
clock.json | local only | the latest time, and the day's count
personal.sqlite | local only | tensors of its own
device.toml | local only | what its owner configured: the person's identifier, whom it heeds
catalogue.json | public | the items
store.sqlite | local only | what the person did and said of items, and what was shown to them
store.copy.sqlite | local only | the same, as it was last known to be whole
store.sqlite.damaged-* | local only | a file that was found damaged, for its owner
store.lock | local only | empty
releases/** | covered: update | what the operator published
forgotten.json | local only | when the device forgot its person: it takes part in nothing since
.lock | local only | empty
serving/.lock | local only | empty; of the device's own process, while it serves
serving/device.sock | local only | the socket that its relay asks it over, unless it lies elsewhere

# words | What a person asks for, and is told, in words (`docs/words.md`) | stays
** | local only | read and written for one answer on this machine; no file, cache or log has it

# log | Lines that we write to Flower's log, and what stops a run | server -> operator
server.app.serve | public | what was spent, from the ledger; in a simulation also exact metrics,
  which are the evaluator's
server.app.report_round | public | that a round is completed; in a simulation also exact
  metrics, which are the evaluator's
server.run_policy._warn_of_another | public | of two keys
server.cohort.sampling.node_ids | trusted server | how many nodes are connected, while there are
  fewer than a round needs
server.cohort.silence | not covered | that a stretch of rounds, or none, held nothing at all, and in
  how many words: it stops the run
client.device.agreement.Agreement | local only | that caps were written, and which: for its owner
client.device.process.Process | local only | that it serves; why it declines or failed; which users
  asked that its owner did not name: of its own process, for its owner
client.device.peers.Peers | local only | which users asked that its owner did not name: of its own
  process, for its owner
client.store.database.Database | local only | that a store was damaged, and what took its place: for
  its owner
client.fleet.SteadyFleet | local only | that the node's answers are a turn late, and it ends: of its
  relay, for its owner
client.app._discreet | local only | why a device declines or failed: of its own process, for its
  owner
server.up.conduct.Conductor | trusted server | how many nodes are connected: on the operator's own
  terminal
Flower itself | trusted server | its SuperLink holds every message until it is fetched, and may log
  who connects: guard its machine as the server's

# exit | Exit codes | command -> whoever runs it
0 | public | done
1 | not covered | the machinery failed, or a stretch of rounds held nothing
2 | public | a mistake in what was given or found
3 | public | a guarantee does not hold
4 | public | a guarantee is not shown
130 | public | interrupted by hand
129, 131, 138, 140, 143, 152 | public | ended by a signal: 128 and its number
"""
