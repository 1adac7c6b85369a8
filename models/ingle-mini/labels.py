"""Spam or not, and which of the given intents: requests for a JSON object, and the answers."""
import json, os, re, zlib

SPAM_ASK = ["""Is this message spam? Answer with JSON: {"label": "spam"} or {"label": "ham"}.\n\nMessage: %s""",
            """Label this message as "spam" or "ham" (not spam). Answer with JSON.\n\nMessage: %s""",
            """Is this spam? Answer with a JSON object with the key "label", "spam" or "ham".\n\n%s""",
            """Spam or ham? JSON only.\n%s""",
            """Classify the message: {"label": "spam"} or {"label": "ham"}.\nMessage: %s"""]
NOT_ASK = ["""Is this message spam? Answer with JSON: {"label": "spam"} or {"label": "not spam"}.\n\nMessage: %s""",
           """Label this message as spam or not spam. Answer with JSON, key "label".\n\n%s"""]
INTENT_ASK = ["Name the intent of the request. Intents: {list}. If none fits, say none. Answer with JSON.\n\nRequest: {text}",
              "Which of these intents fits the request: {list}? If none does, answer none. Answer with JSON.\n\nRequest: {text}",
              """Choose the intent, or "none". Answer with JSON: {{"intent": "..."}}.\n\nIntents:\n{lines}\n\nRequest: {text}""",
              """Intents: {json}\nRequest: {text}\nAnswer with a JSON object with the key "intent"; "none" if no intent fits.""",
              "What does the user want? Intents: {list}, none. JSON only.\n\n{text}"]
# Intents of other sets that no training example has, for the figure on unseen ones.
UNSEEN = {"play_radio", "takeaway_query", "lists_remove", "transport_taxi", "general_joke", "calendar_remove",
          "iot_coffee", "email_addcontact", "datetime_convert", "social_post", "audio_volume_mute", "qa_stock",
          "RateBook", "BookRestaurant"}


def same_words(text):
    return re.sub(r"\d+", "0", text.lower())


def same(text):
    """What two near copies of a message have in common: letters, and that there is a number."""
    return re.sub(r"[^a-z0]+", "", same_words(text))


def split(rows, share=6, n=6):
    """(for training, for testing): rows that share a run of n words, or nearly everything, stay on one side."""
    first, group = {}, list(range(len(rows)))

    def root(i):
        while group[i] != i:
            group[i] = group[group[i]]
            i = group[i]
        return i
    for i, row in enumerate(rows):
        w = re.findall(r"[a-z]+|0", same_words(row[0]))
        for run in [tuple(w), *(tuple(w[j:j + n]) for j in range(len(w) - n + 1))]:
            group[root(i)] = root(first.setdefault(run, i))
    test = [zlib.crc32(same(rows[root(i)][0]).encode()) % share == 0 for i in range(len(rows))]
    return [r for r, t in zip(rows, test) if not t], [r for r, t in zip(rows, test) if t]


def jsonl(data, *path):
    with open(os.path.join(data, *path), encoding="utf-8") as f:
        return [json.loads(line) for line in f]


def unique(rows):
    seen, out = set(), []
    for row in rows:
        if (key := same(row[0])) not in seen:
            seen.add(key)
            out.append(row)
    return out


def spam(data):
    """((text, label) to train on, the same of messages to test on, the same of comments to test on)."""
    with open(os.path.join(data, "evals", "sms-spam.tsv"), encoding="utf-8") as f:
        rows = [line.rstrip("\n").split("\t", 1)[::-1] for line in list(f)[1:]]
    sms = unique([(t.strip(), l) for t, l in rows if t.strip()])
    tube = unique([(r["text"].strip()[:500], r["label"]) for r in jsonl(data, "text", "youtube_spam", "comments.jsonl")])
    train, test = split(sms + tube)
    messages = {t for t, _ in sms}
    return train, [r for r in test if r[0] in messages], [r for r in test if r[0] not in messages]


def intents(data):
    """{set: {intent: [texts]}} to train on; the same of unseen intents; texts that fit no intent."""
    with open(os.path.join(data, "evals", "clinc150.json")) as f:
        clinc = json.load(f)
    val = {same(t) for t, _ in clinc["val"] + clinc["oos_val"]}
    sets, unseen = {}, {}

    def put(name, rows):
        for text, intent in unique(rows):
            if same(text) not in val and 3 < len(text) < 200:
                (unseen if intent in UNSEEN else sets).setdefault(name, {}).setdefault(intent, []).append(text)
    put("clinc", clinc["train"])
    put("hwu", [(r["text"], r["scenario"] + "_" + r["intent"]) for r in jsonl(data, "text", "hwu64_nlu", "train.jsonl")])
    put("snips", [(r["text"], r["intent"]) for r in jsonl(data, "text", "snips_nlu", "train_full.jsonl")])
    put("multidogo", [(r["text"], r["intent"]) for r in jsonl(data, "text", "multidogo", "customer_train.jsonl")
                      if r["intent"] not in ("contentonly", "outofdomain") and "<" not in r["intent"]])
    sets["multidogo"] = {k: v for k, v in sets["multidogo"].items() if len(v) > 20}
    rows = []
    for d in jsonl(data, "text", "sgd", "dialogues.jsonl"):
        call = next((t["call"]["name"] for t in d["turns"] if "call" in t), None)
        if call and len(d["turns"][0]["text"]) > 25:
            rows.append((d["turns"][0]["text"], call))
    put("sgd", rows)
    none = [t for t, _ in clinc["oos_train"]] * 3
    none += [r["text"] for r in jsonl(data, "text", "multidogo", "customer_train.jsonl") if r["intent"] == "outofdomain" and len(r["text"]) > 25][:300]
    none += [t for d in jsonl(data, "text", "topical_chat", "valid.jsonl") for t in d["turns"][2:3] if len(t) < 150][:600]
    return sets, unseen, none


def dress(name, style):
    if style == "snake":
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    if style == "words":
        return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).replace("_", " ").lower()
    if style == "Camel":
        return "".join(w[:1].upper() + w[1:] for w in name.split("_"))
    if style == "turned":
        return "_".join(reversed(name.split("_", 1)))
    return name


def intent_ask(template, names, text):
    return template.format(list=", ".join(names), lines="\n".join("- " + n for n in names), json=json.dumps(names), text=text)


def said_otherwise(text, rng):
    """The same request with a word lost, twice, or a polite one more: what a training text teaches beside its words."""
    w = text.split()
    if len(w) > 4 and rng.random() < 0.6:
        w = [x for x in w if rng.random() > 0.15] or w
    p = rng.random()
    if p < 0.06:
        w = [rng.choice(["please", "hey", "hi", "ok", "so", "well", "now"])] + w
    elif p < 0.12:
        w = w + [rng.choice(["please", "now", "thanks", "today"])]
    elif p < 0.2 and len(w) > 3:
        i = rng.randrange(len(w))
        if len(w[i]) > 3:  # a slip of the keys
            j = rng.randrange(len(w[i]) - 1)
            w[i] = w[i][:j] + w[i][j + 1] + w[i][j] + w[i][j + 2:]
    return " ".join(w)


class Turns:
    """The texts of each intent in turn, in another order each time round, so that all are seen as often.

    `made`: {name: [texts]} of requests nobody wrote (reworded.py); two of three texts are such where there are any."""
    def __init__(self, sets, made):
        self.sets, self.made, self.left = sets, made, {}
        self.where = {n: k for k, group in sets.items() for n in group}

    def text(self, name, rng):
        made = name in self.made and (name not in self.where or rng.random() < 0.67)
        left = self.left.setdefault((name, made), [])
        if not left:
            texts = self.made[name] if made else self.sets[self.where[name]][name]
            left += rng.sample(texts, len(texts))
        text = left.pop()
        return text if made or rng.random() < 0.4 else said_otherwise(text, rng)


def near(name, group, rng):
    """Names that share a word with this one: the hard ones to tell apart."""
    parts = set(re.findall(r"[a-z]+", name.lower()))
    return [m for m in group if m != name and parts & set(re.findall(r"[a-z]+", m.lower()))]


# Requests that fit no intent of any list, and requests whose name is not on this one.
OUTSIDE, ABSENT = 0.035, 0.17


def intent_example(turns, none, rng, requests):
    """[(request, (before the name, the name, after it)), ...]: one conversation about one list of intents."""
    sets = turns.sets
    kind = rng.choices(list(sets), [7 if k == "clinc" else 1.5 if k == "hwu" else 0.5 for k in sets])[0]
    group = sets[kind]
    n = min(len(group), rng.choice([2, 3, 4, 5, 6, 7, 8, 8, 8, 8, 8, 8, 10, 12]))
    names = rng.sample(list(group), n)
    if n > 3 and rng.random() < 0.25:
        like = near(names[0], group, rng)
        some = [m for m in rng.sample(like, min(3, len(like))) if m not in names]
        names = names[:n - len(some)] + some
        rng.shuffle(names)
    if rng.random() < 0.1:  # some names of other sets among them
        other = [i for k in sets if k != kind for i in sets[k]]
        names = names[:max(1, n - 2)] + rng.sample(other, min(2, n))
    style = rng.choice(["as is"] * 7 + ["words", "Camel", "turned" if kind == "hwu" else "as is"])
    shown = [dress(m, style) for m in names]
    template = rng.choice([INTENT_ASK[0], INTENT_ASK[0], INTENT_ASK[0], *INTENT_ASK])
    out = []
    for _ in range(requests):
        p = rng.random()
        if p < OUTSIDE:
            text, answer = turns.text("none", rng) if rng.random() < 0.5 else rng.choice(none), "none"
        elif p < OUTSIDE + ABSENT:  # an intent of the same set that is not on the list
            rest = [m for m in group if m not in names]
            if not rest:
                continue
            text, answer = turns.text(rng.choice(rest), rng), "none"
        else:
            j = rng.randrange(len(names))
            text, answer = turns.text(names[j], rng), shown[j]
        if kind == "clinc" and rng.random() < 0.15:
            text = text[:1].upper() + text[1:] + rng.choice(["", ".", "?"])
        ask = intent_ask(template, shown, text) if not out else ("Request: " + text if "Request: " in template else text)
        out.append((ask, in_three("intent", answer)))
    return out or intent_example(turns, none, rng, requests)


def in_three(key, value):
    """The JSON object with this value in three parts: what must be decided is the one in the middle."""
    before, after = json.dumps({key: "|"}).split("|")
    return before, json.dumps(value, ensure_ascii=False)[1:-1], after


def intent_table(turns, rng, lines=24):
    """[(request, name)]: nothing but what each request is called, no list: the cheapest way to see many of them."""
    group = list(turns.sets["clinc"])
    return [(turns.text(n, rng), n) for n in rng.choices(group, k=lines)]


def worn(text, rng):
    """A message as it might have been: cut, in other capitals, or with words lost."""
    p = rng.random()
    if p < 0.08:
        return text.lower()
    if p < 0.11:
        return text.upper()
    w = text.split(" ")
    if p < 0.4 and len(w) > 5:
        return " ".join(x for x in w if rng.random() > 0.12) or text
    if p < 0.5 and len(w) > 12:
        i = rng.randrange(len(w) // 3)
        return " ".join(w[i:i + len(w) * 2 // 3])
    return text


def spam_example(take, rng):
    """`take()` gives the next (text, label)."""
    if rng.random() < 0.8:
        ask, ham = rng.choice([SPAM_ASK[0], *SPAM_ASK]), "ham"
    else:
        ask, ham = rng.choice(NOT_ASK), "not spam"
    out = []
    for _ in range(rng.choice([1, 2, 3, 4, 5, 6])):
        text, label = take()
        text = worn(text, rng) if rng.random() < 0.5 else text
        out.append((ask % text if not out else ("Message: " + text if "Message: " in ask else text),
                    in_three("label", "spam" if label == "spam" else ham)))
    return out
