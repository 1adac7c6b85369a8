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
    return name


def intent_ask(template, names, text):
    return template.format(list=", ".join(names), lines="\n".join("- " + n for n in names), json=json.dumps(names), text=text)


def intent_example(sets, none, rng):
    """[(request, answer), ...]: one conversation about one list of intents."""
    kind = rng.choices(list(sets), [6 if k == "clinc" else 2.5 if k == "hwu" else 1 for k in sets])[0]
    group = sets[kind]
    n = min(len(group), rng.choice([2, 3, 4, 5, 6, 8, 8, 8, 10, 12, 16]))
    names = rng.sample(list(group), n)
    if rng.random() < 0.2:  # some names of other sets among them
        other = [i for k in sets if k != kind for i in sets[k]]
        names = names[:max(1, n - 2)] + rng.sample(other, min(2, n))
    style = rng.choice(["as is", "as is", "as is", "snake", "words", "Camel"])
    shown = [dress(m, style) for m in names]
    template = rng.choice([INTENT_ASK[0], *INTENT_ASK])
    out = []
    for i in range(rng.choice([1, 1, 2, 3, 4, 6])):
        p = rng.random()
        if p < 0.06:
            text, answer = rng.choice(none), "none"
        elif p < 0.22:  # an intent of the same set that is not on the list, or of another set
            rest = [m for m in group if m not in names]
            if not rest:
                continue
            text, answer = rng.choice(group[rng.choice(rest)]), "none"
        else:
            j = rng.randrange(min(n, len(names)))
            where = next(s for s in sets.values() if names[j] in s)
            text, answer = rng.choice(where[names[j]]), shown[j]
        if kind == "clinc" and rng.random() < 0.2:
            text = text[:1].upper() + text[1:] + rng.choice(["", ".", "?"])
        ask = intent_ask(template, shown, text) if not out else ("Request: " + text if "Request: " in template else text)
        out.append((ask, json.dumps({"intent": answer}, ensure_ascii=False)))
    return out or intent_example(sets, none, rng)


def spam_example(take, rng):
    """`take()` gives the next (text, label)."""
    if rng.random() < 0.8:
        ask, ham = rng.choice([SPAM_ASK[0], *SPAM_ASK]), "ham"
    else:
        ask, ham = rng.choice(NOT_ASK), "not spam"
    out = []
    for _ in range(rng.choice([1, 1, 2, 3, 4, 6])):
        text, label = take()
        out.append((ask % text if not out else ("Message: " + text if "Message: " in ask else text),
                    json.dumps({"label": "spam" if label == "spam" else ham})))
    return out
