"""What may be wrong on the command line, and in values."""

from tests.support.bad.lab import Case

SIMULATE = (
    ("flag", "--preset nope"),
    ("flag", "--nope"),
    ("flag", "--roundz 3"),
    ("flag", "--preset defualt"),
    ("flag", "--aggregation fedid"),
    ("flag", "--rounds many"),
    ("flag", "--rounds"),
    ("flag", "--config settings.toml --preset demo"),
    ("flag", "--resume a --out b"),
    ("flag", "--resume a --preset demo"),
    ("flag", "extra"),
    ("flag", "--epsilon 8 --epsilon inf"),
    ("flag", "--seeds 0 --seeds 1"),
    ("flag", "--rounds 3 --rounds=2"),
    ("flag", "--data nope"),
    ("flag", "--data ./no/such/folder"),
    ("flag", "--data ''"),
    ("flag", "--backbone nope"),
    ("flag", "--backbone a/b"),
    ("flag", "--backbone ../b@main"),
    ("flag", "--items nope"),
    ("flag", "--items a/b"),
    ("flag", "--unit family"),
    ("flag", "--trust blind"),
    ("flag", "--aggregation best"),
    ("flag", "--preset local --aggregation ffa"),
    ("flag", "--engine steam"),
    ("flag", "--device tpu"),
    ("flag", "--dtype int3"),
    ("flag", "--unit user --trust local"),
    ("flag", "--unit both --trust local"),
    ("flag", "--mechanism magic"),
    ("flag", "--mechanism dp_ftrl --trust local"),
    ("flag", "--mechanism dp_ftrl --unit example"),
    ("flag", "--mechanism dp_ftrl --unit both"),
    ("flag", "--unit example --trust distributed"),
    ("flag", "--unit both --trust distributed"),
    ("value", "--epsilon 0"),
    ("value", "--epsilon -1"),
    ("value", "--epsilon 1,nan"),
    ("value", "--epsilon 1e-9"),
    ("value", "--epsilon low"),
    ("value", "--epsilon ''"),
    ("value", "--epsilon 1,,2"),
    ("value", "--epsilon 2,8,2.0"),
    ("value", "--seeds 1.5"),
    ("value", "--seeds 0,1,0"),
    ("value", "--seeds -1"),
    ("value", "--delta 0"),
    ("value", "--delta 1"),
    ("value", "--delta nan"),
    ("value", "--delta 0.5"),
    ("value", "--delta 0.025"),
    ("value", "--delta 1e-300 --epsilon 8"),
    ("flag", "--rounds 0 --mechanism dp_ftrl"),
    ("value", "--rounds 0 --adaptive-clipping 0.5"),
    ("value", "--rounds -3"),
    ("value", "--rounds 1e3"),
    ("value", "--rounds 1000000000000"),
    ("value", "--cohort 0"),
    ("value", "--cohort -5"),
    ("value", "--cohort nan"),
    ("value", "--cohort inf"),
    ("value", "--cohort 41"),
    ("value", "--cohort 0.0001 --rounds 1 --epsilon inf"),
    ("value", "--cohort 0.0001 --epsilon 8"),
    ("value", "--users 0"),
    ("value", "--users 1 --cohort 1"),
    ("value", "--users -1"),
    ("value", "--users 1000000000000"),
    ("value", "--layers 9"),
    ("value", "--layers -1"),
    ("value", "--micro-batch -1"),
    ("value", "--workers -1"),
    ("value", "--references guess"),
    ("value", "--references none,popularity"),
    ("value", "--references popularity,popularity"),
    ("value", "--references ''"),
    ("value", "--track tensorbord"),
    ("value", "--track mlflow,mlflow"),
    ("value", "--gpus-per-client 2"),
    ("value", "--engine ray --device cpu --gpus-per-client 0.5"),
    ("value", "--engine sequential --workers 3"),
    ("value", "--workers 2 --device cpu --gpus-per-client 0.5"),
    ("value", "--workers 2 --cpus-per-client 4096"),
    ("value", "--ray-address nowhere"),
    ("value", "--ray-address ray://127.0.0.1:10001"),
    ("value", "--ray-address 127.0.0.1:9"),
    ("value", "--engine ray --ray-address 127.0.0.1:9"),
)

OTHERS = (
    ("flag", "frobnicate"),
    ("flag", "data nope"),
    ("flag", "data inspect"),
    ("flag", "data fetch nope"),
    ("value", "data inspect world --users 0"),
    ("value", "data world --out new --users -1"),
    ("value", "data world --out new --items 2"),
    ("value", "verify run --key abc"),
    ("value", "verify run --deltas 0"),
    ("value", "verify run --deltas 1e-4,small"),
    ("file", "verify run --report run/page.html"),
    ("file", "verify run --report run/config.toml"),
    ("file", "verify run --report no/page.html"),
    ("flag", "verify"),
    ("file", "verify run/results.json"),
    ("file", "verify run/points"),
    ("file", "verify new"),
    ("file", "verify run --key run/results.json"),
    ("flag", "audit"),
    ("flag", "audit run --quik"),
    ("value", "audit run --key abc"),
    ("file", "audit new"),
    ("file", "audit run/points"),
    ("file", "audit run/results.json"),
    ("file", "audit run --quick --out run"),
    ("flag", "doctor --jsn"),
    ("flag", "doctor --nope"),
    ("flag", "doctor extra"),
    ("flag", "data inspect world --users 40 --users 41"),
    ("flag", "policy check p.json --operator a --operator b"),
    ("flag", "simulat"),
    ("flag", "data inspct"),
    ("flag", "policy check --operator KEY"),
    ("value", "policy check run/points/eps-2-seed-0.policy.json --operator KEY"),
    ("file", "policy check run/results.json --operator run/results.json"),
    ("file", "policy show run"),
    ("file", "policy show run/results.json"),
    ("flag", "client identity"),
    ("value", "client serve --state new --uid nobody-of-that-name"),
    ("file", "client identity new"),
    ("file", "client identity run/results.json"),
    ("value", "client init --state new --user u --hours 6-7"),
    ("value", "simulate --preset demo --out new --secure-aggregation yes"),
    ("value", "simulate --preset demo --out new --secure-aggregation on --aggregation flexlora"),
    ("value", "simulate --preset demo --out new --secure-aggregation on --unit example"),
    ("value", "simulate --preset demo --out new --secure-aggregation off --trust distributed"),
    ("file", "policy spent new"),
    ("file", "policy spent run"),
    ("file", "policy spent here"),
    ("file", "policy spent run/results.json"),
    ("file", "evaluate --data world --adapter run"),
    ("file", "simulate --resume run/results.json"),
    ("value", "policy make --preset demo --epsilon 0 --out new"),
    ("value", "profile --data world --users 40 --user u40"),
    ("flag", "profile --data world --users 40 --user u3 --writer nowhere"),
    ("flag", "profile --data world"),
    ("file", "profile --data world --users 40 --user u3 --adapter run"),
    ("flag", "export run/adapters/eps-2-seed-0.safetensors new"),
    ("value", "export run/adapters/eps-2-seed-0.safetensors --to gguf new"),
    ("file", "export run/results.json --to peft new"),
    ("file", "export run --to peft new"),
    ("file", "export run/adapters/eps-2-seed-0.safetensors --to peft run"),
    ("value", "tune --data movielens-100k --out new"),
    ("value", "tune --vary privacy.epsilon=1..8 --out new"),
    ("value", "tune --vary model.lora_rank=4 --out new"),
    ("value", "tune --trials 0 --out new"),
    ("value", "tune --epsilon 0 --out new"),
    ("value", "tune --metric accuracy --out new"),
    ("flag", "tune --private --public --out new"),
    ("value", "tune --private --seeds 0,1 --out new"),
    ("value", "tune --private --metric mrr --out new"),
    ("value", "tune --private --epsilon inf --out new"),
    ("file", "tune --resume run"),
    ("flag", "tune --resume here --epsilon 2"),
    ("flag", "simulate --preset demo --out new --start-is-public"),
    ("file", "simulate --preset demo --out new --start here --start-is-public"),
    ("file", "simulate --preset demo --out new --start run/results.json --start-is-public"),
    ("file", "evaluate --off-policy new"),
    ("file", "evaluate --off-policy here"),
    ("file", "evaluate --off-policy run/results.json"),
    ("file", "evaluate --off-policy run/results.csv"),
    ("flag", "evaluate --off-policy new --data world"),
    ("flag", "evaluate --off-policy new --phase test"),
    ("flag", "evaluate --off-policy new --effects --policy uniform"),
    ("flag", "evaluate --policy uniform"),
    ("flag", "evaluate --effects"),
    ("flag", "ratings"),
    ("file", "ratings --data new"),
    ("file", "ratings --data here"),
    ("value", "ratings --data here --seeds 0,0"),
    ("flag", "simulate --days 3 --out new"),
    ("flag", "simulate --online --rounds 3 --out new"),
    ("flag", "simulate --online --policies nope --out new"),
    ("value", "simulate --online --policies greedy=1 --out new"),
    ("value", "simulate --online --policies softmax=0 --out new"),
    ("value", "simulate --online --policies greedy,greedy --out new"),
    ("value", "simulate --online --days 0 --out new"),
    ("value", "simulate --online --epsilon 0 --out new"),
    ("file", "simulate --online --out run"),
    ("file", "simulate --online --config new --out new"),
)

SHOWN = "item,propensity,click\na,0.5,0\nb,0.5,1\n"
LOGS = (
    ("file", "a log without propensities", SHOWN.replace("propensity", "chance"), ""),
    ("file", "no rows", SHOWN.partition("a,")[0], ""),
    ("file", "an empty file", "", ""),
    ("file", "one item only", SHOWN.replace("b,", "a,"), ""),
    ("value", "a propensity of 0", SHOWN.replace("0.5,0", "0,0"), ""),
    ("value", "a propensity below 0", SHOWN.replace("0.5,0", "-0.5,0"), ""),
    ("value", "a propensity that is no number", SHOWN.replace("0.5,0", "nan,0"), ""),
    ("value", "a propensity of 1e-200", SHOWN.replace("0.5,0", "1e-200,0"), ""),
    ("value", "a click of 2", SHOWN.replace("0.5,1", "0.5,2"), ""),
    (
        "value",
        "an item twice in a slate",
        "slate,position,"
        + SHOWN.replace("\na,", "\n1,0,a,").replace("\nb,", "\n1,1,a,")
        + "2,0,b,0.5,0\n",
        "",
    ),
    (
        "value",
        "one person",
        "user," + SHOWN.replace("\na,", "\nu,a,").replace("\nb,", "\nu,b,"),
        "--effects",
    ),
    ("flag", "no policy of that name", SHOWN, "--policy nope"),
    ("value", "a temperature of 0", SHOWN, "--temperature 0"),
    ("value", "no click at the first place", SHOWN.replace(",1\n", ",0\n"), "--effects"),
)

ACCOUNT = (
    ("flag", "--rounds 40 --sampling 0.1 --users 943"),
    ("flag", "--epsilon 8 --noise 1 --rounds 40 --sampling 0.1 --users 943"),
    ("flag", "--epsilon 8 --rounds 40 --sampling 0.1"),
    ("flag", "--noise 1 --rounds 40 --sampling 0.1 --users 943 --relation swap"),
    ("value", "--epsilon 8 --rounds 40 --sampling 0.1 --delta 1"),
    ("value", "--epsilon 8 --rounds 40 --sampling 0.1 --users 100 --delta 0.01"),
    ("value", "--epsilon 8 --rounds 40 --sampling 0.1 --delta 1e-300"),
    ("value", "--noise 1 --rounds 40 --sampling 0.1 --users 943 --deltas 1e-300"),
    ("value", "--epsilon 8 --rounds 1 --sampling 1e-6 --users 943"),
    ("value", "--epsilon 1e-9 --rounds 40 --sampling 0.1 --users 943"),
    ("value", "--epsilon 0.001 --rounds 1000000 --sampling 1 --users 943"),
    ("value", "--epsilon 0 --rounds 40 --sampling 0.1 --users 943"),
    ("value", "--epsilon nan --rounds 40 --sampling 0.1 --users 943"),
    ("value", "--epsilon inf --rounds 40 --sampling 0.1 --users 943"),
    ("value", "--epsilon 8 --rounds 0 --sampling 0.1 --users 943"),
    ("value", "--epsilon 8 --rounds 40 --sampling 2 --users 943"),
    ("value", "--epsilon 8 --noise 0 --sampling 0.1 --users 943"),
    ("value", "--epsilon 8 --noise 0.1 --sampling 1 --users 943"),
    ("value", "--epsilon 8 --noise 1e5 --sampling 1 --users 943"),
    ("value", "--epsilon 8 --rounds 40 --sampling 0.1 --users 0"),
    ("value", "--epsilon 8 --rounds 40 --sampling 0.1 --users 943 --group 0"),
    ("value", "--epsilon 8 --rounds 40 --sampling 0.1 --users 943 --group 100"),
    ("value", "--noise 1 --rounds 40 --sampling 0.1 --users 943 --took-part 41"),
    ("value", "--noise 1 --rounds 40 --sampling 0.1 --users 943 --deltas 2"),
    ("value", "--noise 1 --rounds 40 --sampling 0.1 --users 943 --relation replace_one"),
    ("value", "--epsilon 8 --noise 1 --rounds 40 --users 943 --relation replace_one"),
)

EVALUATE = (
    ("value", "--phase training"),
    ("value", "--users 0"),
    ("flag", "--data nope"),
)

RECOMMEND = (
    ("value", "--user u40"),
    ("value", "--user ''"),
    ("value", "-k 0"),
    ("value", "-k 100000"),
    ("flag", "--writer smollm2"),
    ("flag", "--explain --writer nowhere"),
)


def words(text):
    return [part.strip("'") for part in text.split()]


def _simulate(text):
    return lambda lab: lab.simulate(
        *(lab.settings if word == "settings.toml" else word for word in words(text))
    )


def _run(text):
    def act(lab):
        places = {"new": lab.folder / "new", "run": lab.finished, "here": lab.folder}

        def placed(word):
            first, slash, rest = word.partition("/")
            return f"{places[first]}{slash}{rest}" if first in places else word

        return lab.run(*map(placed, words(text)))

    return act


def _log(content, text):
    return lambda lab: lab.run(
        "evaluate", "--off-policy", lab.file("log.csv", content), *words(text)
    )


def _use(name, text):
    return lambda lab: getattr(lab, name)(*words(text))


FLAGS = (
    *(Case(kind, f"simulate {text}", _simulate(text)) for kind, text in SIMULATE),
    *(Case(kind, text, _run(text)) for kind, text in OTHERS),
    *(
        Case(
            kind,
            f"{' '.join(('evaluate --off-policy', *words(text)))}: {name}",
            _log(content, text),
        )
        for kind, name, content, text in LOGS
    ),
    *(Case(kind, f"account {text}", _run(f"account {text}")) for kind, text in ACCOUNT),
    *(Case(kind, f"evaluate {text}", _use("evaluate", text)) for kind, text in EVALUATE),
    *(Case(kind, f"recommend {text}", _use("recommend", text)) for kind, text in RECOMMEND),
)
