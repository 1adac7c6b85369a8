"""Labels, intents, personal data and tool calls: what the model does on texts it never saw, beside TF-IDF.

Every request has the first wording of its kind in labels.py and pii.py; answers are greedy. `say(requests, limit, schemas)`
answers: the decoded weights, which know no schemas, or the program, which holds each answer to its own. TF-IDF: words and pairs of
words (for spam also letters 2 to 5 in a row), logistic regression (C = 10), trained on the same texts as the model.

spam     messages (and comments) of which no near copy is in training; "right" needs a JSON object with that label.
intent   clinc150's validation part: 8 names are given; in one of five requests the right one is not among them, and
         the 100 requests outside of all intents are added: both want "none". TF-IDF chooses among the names given, and
         says none where its best is less likely than a threshold, chosen by cross-validation on such lists.
unseen   the same with names and requests of 14 intents that no training text has (hwu64, snips).
pii      texts of pii.json whose templates were all kept out of training. A find counts when type and text are right.
         TF-IDF labels each word from itself and two words on each side; neighbours of one type are one find.
tools    100 requests for the calculator and 100 for the clock, in wordings kept out of training. A call is valid
         when it is JSON in <tool_call> tags, names the tool and has its arguments, no others, of their types; it is
         right when the arguments are as they should be (an expression by its value).
"""
import collections, json, random, re
import numpy as np
import labels, pii as personal, tools as toolbox


def held_to(key, values):
    """The schema of an object with this one key and one of these values."""
    return {"type": "object", "properties": {key: {"enum": values}}, "required": [key], "additionalProperties": False}


def parse(text, key):
    try:
        got = json.loads(text)
        return got.get(key) if isinstance(got, dict) else None
    except ValueError:
        return None


def tfidf(letters=True):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union
    parts = [TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+")]
    if letters:
        parts.append(TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True, min_df=2))
    return make_pipeline(make_union(*parts), LogisticRegression(C=10, max_iter=100))


def f1(truth, got, label):
    tp = sum(t == g == label for t, g in zip(truth, got))
    return 2 * tp / max(1, truth.count(label) + got.count(label))


def spam(folder, say, most=0, peers=True):
    train, sms, tube = labels.spam(folder)
    peer = tfidf().fit(*zip(*train)) if peers else None
    for name, rows in (("messages", sms), ("comments", tube)):
        rows = rows[:most or None]
        truth = [l for _, l in rows]
        got = [parse(t, "label") for t in say([labels.SPAM_ASK[0] % t for t, _ in rows], 12, [held_to("label", ["spam", "ham"])] * len(rows))]
        line = lambda g: f"{sum(a == b for a, b in zip(truth, g)) / len(rows):.1%} right, F1 of spam {f1(truth, g, 'spam'):.3f}"
        print(f"spam, {len(rows)} {name} ({truth.count('spam')} spam): {line(got)}; no such object {sum(g not in ('spam', 'ham') for g in got)}"
              + ("" if not peers else f"; TF-IDF {line(list(peer.predict([t for t, _ in rows])))}"), flush=True)


def lists_of(rows, names, rng, size=8, without=0.2):
    """[(text, names given, what is right)]."""
    out = []
    for text, intent in rows:
        given = rng.sample([n for n in names if n != intent], size - 1)
        fits = intent in names and rng.random() >= without
        given.append(intent if fits else rng.choice([n for n in names if n != intent and n not in given]))
        rng.shuffle(given)
        out.append((text, given, intent if fits else "none"))
    return out


def choose(classes, probabilities, cases, least):
    index, got = {c: i for i, c in enumerate(classes)}, []
    for (_, given, _), p in zip(cases, probabilities):
        best = max(given, key=lambda n: p[index[n]])
        got.append(best if p[index[best]] >= least else "none")
    return got


def intent(folder, say, most=0, peers=True):
    rng = random.Random(5)
    with open(folder + "/evals/clinc150.json") as f:
        clinc = json.load(f)
    names = sorted({i for _, i in clinc["train"]})
    inside, outside = rng.sample(clinc["val"], most or 500), clinc["oos_val"][:most or None]
    sets, unseen, _ = labels.intents(folder)
    new = [(t, n) for group in unseen.values() for n, texts in group.items() for t in texts]
    cases = {"clinc150": lists_of(inside, names, rng), "outside of all": lists_of([(t, None) for t, _ in outside], names, rng),
             "unseen intents": lists_of(rng.sample(new, most or 300), sorted({n for _, n in new}), rng)}
    peer = None
    if peers:
        from sklearn.model_selection import cross_val_predict
        rows = [(t, n) for n, texts in sets["clinc"].items() for t in texts] + [(t, "none") for t, _ in clinc["oos_train"]]
        peer = tfidf(False).fit(*zip(*rows))
        some = rng.sample(rows, 4000)
        p = cross_val_predict(tfidf(False), *zip(*some), cv=3, method="predict_proba")
        tries = lists_of([(t, None if n == "none" else n) for t, n in some], names, rng)
        kinds = sorted({n for _, n in some})
        right = lambda least: sum(g == c[2] for g, c in zip(choose(kinds, p, tries, least), tries))
        least = max(np.linspace(0, 0.5, 51), key=right)
    for name, cs in cases.items():
        asks = [labels.intent_ask(labels.INTENT_ASK[0], given, t) for t, given, _ in cs]
        got = [parse(t, "intent") for t in say(asks, 24, [held_to("intent", given + ["none"]) for _, given, _ in cs])]
        line = lambda g: (f"{sum(a == c[2] for a, c in zip(g, cs)) / len(cs):.1%} right"
                          f" (named {sum(a == c[2] for a, c in zip(g, cs) if c[2] != 'none')} of {sum(c[2] != 'none' for c in cs)},"
                          f" none {sum(a == c[2] for a, c in zip(g, cs) if c[2] == 'none')} of {sum(c[2] == 'none' for c in cs)})")
        bad = sum(g is None or g not in c[1] + ["none"] for g, c in zip(got, cs))
        other = "" if not peers or name == "unseen intents" else f"; TF-IDF {line(choose(list(peer.classes_), peer.predict_proba([c[0] for c in cs]), cs, least))}"
        print(f"intent among 8, {name}: {line(got)}; no name of the list {bad}{other}", flush=True)


def words_of(text, spans):
    """[(start, end, features, type or O)] of the words of a text."""
    found = [(m.start(), m.end()) for m in re.finditer(r"\w+(?:[.@:/'-]\w+)*|[^\w\s]", text)]
    out, n = [], len(found)
    for i, (a, b) in enumerate(found):
        near = [f"{j - i}={text[slice(*found[j])] if 0 <= j < n else '_'}" for j in range(i - 2, i + 3)]
        w = text[a:b]
        shape = re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "9", w)))
        near += [f"s={shape}", f"l={len(w)}", *(f"p{k}={w[:k]}" for k in (2, 3)), *(f"e{k}={w[-k:]}" for k in (2, 3))]
        near += [f"s{j - i}=" + re.sub(r"[a-z]+", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "9", text[slice(*found[j])])))
                 for j in (i - 1, i + 1) if 0 <= j < n]
        out.append((a, b, near, next((k for k, s, e in spans if s < b and a < e), "O")))
    return out


def score(truth, got):
    right = sum(sum((collections.Counter(t) & collections.Counter(g)).values()) for t, g in zip(truth, got))
    p, r = right / max(1, sum(map(len, got))), right / max(1, sum(map(len, truth)))
    return f"F1 {2 * p * r / max(p + r, 1e-9):.3f} (precision {p:.3f}, recall {r:.3f})"


def pii_tfidf(train):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    rows = [w for t, s in train for w in words_of(t, s)]
    peer = make_pipeline(TfidfVectorizer(analyzer=lambda x: x, sublinear_tf=True, min_df=2), LogisticRegression(C=10, max_iter=300))
    peer.fit([r[2] for r in rows], [r[3] for r in rows])

    def find(text):
        words, out = words_of(text, []), []
        for (a, b, _, _), k in zip(words, peer.predict([w[2] for w in words]) if words else []):
            if k != "O" and out and out[-1][0] == k and not text[out[-1][2]:a].strip():
                out[-1] = (k, out[-1][1], b)
            elif k != "O":
                out.append((k, a, b))
        return [(k, text[a:b]) for k, a, b in out]
    return find


def pii(folder, say, most=0, peers=True):
    train, test = personal.rows(folder)
    test = test[:most or None]
    truth = [[(k, t[a:b]) for k, a, b in s] for t, s in test]
    find = {"type": "object", "properties": {"type": {"enum": sorted({k for _, s in train for k, _, _ in s})}, "text": {"type": "string"}},
            "required": ["type", "text"], "additionalProperties": False}
    schema = {"type": "object", "properties": {"pii": {"type": "array", "items": find}}, "required": ["pii"], "additionalProperties": False}
    found = [parse(t, "pii") for t in say([personal.ASK[0] % t for t, _ in test], 250, [schema] * len(test))]
    ok = lambda e: isinstance(e, dict) and isinstance(e.get("type"), str) and isinstance(e.get("text"), str)
    got = [[(e["type"], e["text"]) for e in f if ok(e)] if isinstance(f, list) else [] for f in found]
    plain = lambda rows: [[v for _, v in r] for r in rows]
    print(f"pii, {len(test)} texts, {sum(map(len, truth))} finds: {score(truth, got)}; of any type {score(plain(truth), plain(got))}; "
          f"no such object {sum(not isinstance(f, list) for f in found)}", flush=True)
    if peers:
        find = pii_tfidf(train)
        peer = [find(t) for t, _ in test]
        print(f"  TF-IDF by word: {score(truth, peer)}; of any type {score(plain(truth), plain(peer))}")


def checked(text, tool, want):
    """(valid, right) of an answer that should call the tool."""
    m = re.fullmatch(r"\s*<tool_call>\s*(.*?)\s*</tool_call>\s*", text, re.S)
    try:
        got = json.loads(m[1])
        args, p = got["arguments"], tool["function"]["parameters"]
        kinds = {"string": str, "number": (int, float)}
        valid = got["name"] == tool["function"]["name"] and set(p["required"]) <= set(args) <= set(p["properties"]) and all(
            isinstance(v, kinds[p["properties"][k]["type"]]) for k, v in args.items())
    except (TypeError, ValueError, KeyError, AttributeError):
        return False, False
    if not valid or set(args) != set(want):
        return valid, False
    same = lambda a, b: a == b or isinstance(a, str) and re.fullmatch(r"[\d+*/(). -]+", a) and toolbox.value(a) == toolbox.value(b)
    return True, all(same(args[k], want[k]) for k in want)


def tool_cases(folder, what, n):
    rng, cities = random.Random(9), personal.lists(folder)["city"]
    return [toolbox.example(cities, rng, True, what) for _ in range(n)]


def tools(folder, say, most=0, peers=True):
    for what in ("calculator", "clock"):
        cases = tool_cases(folder, what, most or 100)
        got = say([(c[1], c[0]) for c in cases], 100, [None] * len(cases))
        marks = [checked(g, next(t for t in c[0] if t["function"]["name"] == c[2][0]), c[2][1]) for g, c in zip(got, cases)]
        print(f"tool calls, {what}: valid {sum(v for v, _ in marks)} of {len(cases)}, right {sum(r for _, r in marks)}", flush=True)


def a_few(folder):
    """Requests of all kinds, for comparing programs."""
    _, sms, _ = labels.spam(folder)
    _, texts = personal.rows(folder)
    return (["Tell me a story about a fox", "Who are you?"] + [labels.SPAM_ASK[0] % t for t, _ in sms[:10]]
            + [personal.ASK[0] % t for t, _ in texts[:10]] + [(c[1], c[0]) for c in tool_cases(folder, "calculator", 5) + tool_cases(folder, "clock", 5)])
