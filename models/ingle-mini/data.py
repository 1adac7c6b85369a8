#!/usr/bin/env python3
"""What ingle-mini learns from: stories and requests for them, here; labels.py, pii.py and tools.py for the rest.

    data.py [--data DIR] show [N]         print N training examples
    data.py [--data DIR] tokenizer FILE   train the byte-level BPE, write it as tokenizer.json

Every function takes a `random.Random`, so that one seed gives one training set.
"""
import argparse, json, os, random, re
import labels, pii, reworded, tasks_eval, tools

HERE = os.path.dirname(os.path.abspath(__file__))
DATA = os.path.join(HERE, "..", "..", "..", "shared", "data")  # ../shared beside the repository
VOCAB = 4096
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
# The pre-tokenizer that GGUF calls "qwen2".
QWEN2 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
         r"|\s+(?!\S)|\s+")
DEV = 100  # stories kept out of training, for choosing; the evaluation set is another one

GIRLS = ("Lily Lucy Sue Mia Sally Sarah Anna Amy Jane Molly Sara Jill Emma Mary Jenny Emily Alice Lisa Bella "
         "Susie Lola Ann Grace Kate Ella Tina Rosie Luna Maria Sophie Nora Ruby Clara Zara").split()
BOYS = ("Tim Timmy Tom Sam Ben Jack Bob John Joe Tommy Billy Jimmy Jake Benny Sammy Bobby Johnny Peter Pete "
        "Jim Fred Mark Andy George Toby Henry Leo Charlie James Danny Oliver Noah Omar Ravi").split()
LAND = ("fox wolf bear rabbit mouse squirrel cat dog lion tiger monkey elephant hedgehog badger raccoon deer "
        "goat pig cow horse sheep zebra giraffe panda kangaroo koala donkey bunny puppy kitten hamster skunk "
        "mole rat camel leopard hippo moose beaver otter pony lamb").split()
FLYING = "bird duck owl parrot crow eagle robin goose swan hen rooster penguin dove sparrow bee butterfly".split()
ANIMALS = set(LAND + FLYING + "fish frog turtle snake crab whale shark dolphin snail spider ant bug worm "
              "ladybug dragon dinosaur crocodile octopus seal lizard".split())
FEMALE_CHARS = set("girl woman princess queen lady mom mother grandma fairy witch mermaid nurse".split())
# Words that "a" introduces and that are no subject.
NOT_SUBJECTS = set("""day time lot bit while minute idea thing things place way moment one few little big very side
top end part lesson story piece long new old good great bad small nice different hour week year night morning
afternoon evening look turn try break hand face voice noise sound word smile laugh hug kiss nap walk ride rest
chance second home friend friends kind sort name real part surprise problem plan fun mess loud red blue
green yellow pretty special best wonderful beautiful man's other lots and of with that was is to in on the it he
she they who had for a an so named called hurry family bite step game question dream wish person sudden
strong happy sad brave funny tiny huge tall short wise magic magical full soft round cold hot warm dark
good-bye goodbye result group pair bunch row line corner middle front back bottom couple""".split())
ADJ = set("""little big small tiny huge brave happy sad funny old young kind clever smart shy lonely lazy
friendly red blue green yellow pink purple black white brown gray orange shiny magic magical pretty beautiful lovely
special soft fluffy furry loud quiet fast slow strong weak wise silly curious hungry lost new broken wooden golden
round tall long short nice good mean grumpy angry scary gentle polite greedy proud sweet sour warm cold hot icy
wild giant colorful playful careless careful bright dark heavy fancy strange yummy tasty""".split())

ASK = """Tell me a story about {s}
Tell me a story about {s}.
tell me a story about {s}
Write a short story about {s}.
Write a story about {s}.
Write me a short story about {s}
Can you tell me a story about {s}?
Can you write a story about {s}?
Could you tell me a short story about {s}?
Please tell me a story about {s}.
Please write a short story about {s}.
I want to hear a story about {s}.
I would like a story about {s}, please.
I'd like to hear a story about {s}
A story about {s}, please.
A short story about {s}
Story about {s}
Make up a story about {s}.
Tell a story about {s}
Give me a story about {s}.
Do you know a story about {s}?
Tell me a bedtime story about {s}.
Tell my little brother a story about {s}.
Tell us a story about {s}!
Write a simple story for children about {s}.
Hi! Tell me a story about {s}.
Can I hear a story with {s} in it?
Tell me a tale about {s}.
Tell me something about {s}.
Write a few lines about {s}.""".split("\n")
ASK_ANY = """Tell me a story.
Tell me a story
Write a story.
Write a short story.
Can you tell me a story?
Tell me a bedtime story.
Please tell me a short story.
I want to hear a story.
Another story, please.
A story, please!
Once upon a time""".split("\n")

I_AM = ["I am ingle-mini, a very small language model built into Ingle.",
        "I am ingle-mini. I am a very small language model, and I live inside the program Ingle."]
I_CAN = ["I can tell short, simple stories, label messages and requests, and mark personal data.",
         "I can tell short stories, say if a message is spam, name an intent and find personal data."]
TRY = ["Try: Tell me a story about a fox.", "Ask me for a story about a cat, a ball or a brave girl.",
       "Tell me what the story should be about."]
CHAT = {  # question -> kind of answer
    "hello": ["Hello", "hello", "Hi", "hi", "Hi!", "Hello!", "Hey", "Hi there", "Good morning", "Good evening",
              "hey there", "Hello, how are you?", "How are you?", "Hello ingle", "Good afternoon!", "What's up?"],
    "who": ["Who are you?", "What are you?", "What is your name?", "who are you", "what are you", "Are you human?",
            "Are you a person?", "Are you an AI?", "Tell me about yourself.", "What is ingle-mini?",
            "What model is this?", "Which model are you?", "Are you ChatGPT?", "Who made you?", "Are you a robot?",
            "What is Ingle?", "Introduce yourself.", "What's your name?", "Do you have a name?"],
    "can": ["What can you do?", "what can you do", "Help", "help", "Can you help me?", "How can you help me?",
            "What are you good at?", "How do I use you?", "What should I ask you?", "What do you know?",
            "Are you smart?", "Can you write code?", "Can you do maths?", "Do you know everything?"],
    "thanks": ["Thank you", "Thanks", "Thanks!", "thank you!", "That was nice.", "I liked that story.", "Good story!",
               "Great, thanks", "That was a good story, thank you."],
    "bye": ["Goodbye", "Bye", "bye", "Good night", "See you later", "Good night!", "Bye bye!"],
}
SYSTEMS = ["You are a helpful assistant.", "You are ingle-mini, a small language model.", "You tell stories.",
           "You are a kind storyteller. Keep it short."]


def clean(text):
    for a, b in (("\u201c", '"'), ("\u201d", '"'), ("\u2018", "'"), ("\u2019", "'"), ("\u2013", "-"), ("\u2014", " - "),
                 ("\u2026", "..."), ("\u00a0", " "), ("\r", "")):
        text = text.replace(a, b)
    return re.sub(r"[ \t]+\n", "\n", re.sub(r"[ \t]+", " ", text)).strip()


def held_out(data):
    """The evaluation set. Never trained on; here so that any overlap can be taken out."""
    with open(os.path.join(data, "corpora", "tinystories_1000.json")) as f:
        rows = json.load(f)
    rows = rows if isinstance(rows, list) else next(v for v in rows.values() if isinstance(v, list))
    return [r if isinstance(r, str) else r.get("story") or r.get("text") for r in rows]


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def load(data=DATA):
    """(training stories, dev stories): TinyStories only, without anything that shares 12 words with the held-out."""
    folder, out, seen = os.path.join(data, "text", "tinystories"), [], set()
    held = set()
    for s in held_out(data):
        w = words(s)
        held.update(hash(tuple(w[i:i + 12])) for i in range(len(w) - 11))
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            for s in f.read().split("<|endoftext|>"):
                s = clean(s)
                w = words(s)
                if not 150 <= len(s) <= 2600 or not s.isascii() or s[-1] not in ".!?\"'" or s[:120] in seen:
                    continue
                if sum(hash(tuple(w[i:i + 12])) in held for i in range(len(w) - 11)) > 2:
                    continue
                seen.add(s[:120])
                out.append(s)
    random.Random(1).shuffle(out)
    return out[DEV:], out[:DEV]


def tales(data=DATA):
    """(title, text) of short tales by people: African Storybook and Pratham Books, CC BY."""
    out = []
    for folder in ("african_storybook", "pratham_books"):
        with open(os.path.join(data, "text", folder, "stories.jsonl"), encoding="utf-8") as f:
            for line in f:
                row = json.loads(line)
                text = clean(row["text"])
                if 200 <= len(text) <= 1700 and text.isascii() and row["title"].isascii():
                    out.append((row["title"], text))
    return out


def questions(data=DATA):
    """Questions that a story model cannot answer (tatoeba, CC BY 2.0 FR; StrategyQA, MIT)."""
    out = []
    for folder in ("tatoeba_en", "strategyqa_train"):
        folder = os.path.join(data, "text", folder)
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name), encoding="utf-8") as f:
                found = re.findall(r'(?:^|\t|")((?:What|Who|Where|When|Why|How|Is|Are|Do|Does|Can|Could|Would|Did|Which)'
                                   r' [^\t\n"]{8,70}\?)', f.read(), re.M)
            out += [q for q in sorted(set(found)) if q.isascii() and "story" not in q.lower()]
    return out


def said(data, sets):
    """Requests, turns of dialogues and everyday sentences: where words stand beside each other."""
    out = [t for group in sets.values() for texts in group.values() for t in texts]
    out += [t["text"] for d in labels.jsonl(data, "text", "sgd", "dialogues.jsonl") for t in d["turns"]]
    folder = os.path.join(data, "text", "tatoeba_en")
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            out += [line.rstrip("\n").split("\t")[-1] for line in f]
    return out


def article(noun):
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def subjects(story):
    """What a story is about: nouns that "a" introduces and "the" takes up again, and who does what with them."""
    low, out = story.lower(), []
    count = {}
    for w in words(low):
        count[w] = count.get(w, 0) + 1
    who = re.search(r"\b(?:a|an) ((?:\w+ )?)(\w+) (?:named|called) ([A-Z]\w+)", story[:300])
    nouns = {}
    for adj, n in re.findall(r"\b(?:a|an|some) ((?:[a-z]+ )?)([a-z]+)\b", low):
        if n in NOT_SUBJECTS or len(n) < 3 or n.endswith("ly") or (adj and adj.strip() not in ADJ):
            continue
        if f"the {n}" in low or f" {n} was" in low or (n in ANIMALS and count.get(n, 0) > 1):
            adj = adj.strip()
            if n not in nouns or (adj and not nouns[n]):
                nouns[n] = adj
    ranked = sorted(nouns, key=lambda n: (-count.get(n, 0) - 3 * (n in ANIMALS), n))[:4]
    for n in ranked:
        if count.get(n, 0) >= 2:
            out.append(article(n))
            if nouns[n]:
                out.append(article(nouns[n] + " " + n))
    if len(ranked) > 1 and count.get(ranked[1], 0) >= 2:
        out.append(article(ranked[0]) + " and " + article(ranked[1]))
    if who:
        adj, n, name = who[1].strip(), who[2], who[3]
        if n.islower() and n not in NOT_SUBJECTS and len(n) > 2:
            full = article((adj + " " + n) if adj in ADJ else n)
            out += [article(n), full, f"{full} named {name}", f"{article(n)} called {name}"]
            for obj in ranked[:3]:
                if obj != n:
                    out += [f"{article(n)} and {article(obj)}", f"{name} and {article(obj)}"]
            m = re.search(r"\b(found|lost|saw|made|met|wanted|got|bought|broke) (an?|his|her) ((?:[a-z]+ )?)([a-z]+)", low)
            if m and m[4] in nouns | {"ball": 1, "toy": 1, "hat": 1} and (not m[3] or m[3].strip() in ADJ):
                verb = {"wanted": "wants", "saw": "sees", "met": "meets"}.get(m[1], m[1])
                out += [f"{article(n)} who {verb} {m[2]} {m[3]}{m[4]}"] * 2
    names = [n for n in GIRLS + BOYS if re.search(rf"\b{n}\b", story[:300])]
    if len(names) > 1:
        out.append(f"{names[0]} and {names[1]}")
    elif names:
        out.append(names[0])
    return out


def swap(story, pairs):
    """Replace whole words, all at once, keeping capitals, plurals and a/an right."""
    table = {}
    for a, b in pairs:
        for x, y in ((a, b), (a + "s", b + "s"), (a.capitalize(), b.capitalize()), (a.capitalize() + "s", b.capitalize() + "s")):
            table[x] = y
    vowel = lambda w: w[0] in "aeiouAEIOU"
    def one(m):
        art, w = m[1] or "", table[m[2]]
        if art and vowel(w) != vowel(m[2]):
            art = {"a ": "an ", "an ": "a ", "A ": "An ", "An ": "A "}[art]
        return art + w
    return re.sub(r"\b((?:a|an|A|An) )?(" + "|".join(map(re.escape, table)) + r")\b", one, story)


def vary(story, rng):
    """Another name, or another animal, in the same story: teaches that the subject comes from the request."""
    pairs = []
    if rng.random() < 0.35:
        for group in (GIRLS, BOYS):
            have = [n for n in group if re.search(rf"\b{n}\b", story)]
            free = [n for n in group if n not in have]
            pairs += [(n, free.pop(rng.randrange(len(free)))) for n in have if len(free) > 1]
    if rng.random() < 0.35:
        for group in (LAND, FLYING):
            have = [n for n in group if len(re.findall(rf"\b{n}\b", story)) > 1]
            free = [n for n in group if not re.search(rf"\b{n}", story.lower())]
            if have and free:
                pairs.append((have[0], rng.choice(free)))
    return swap(story, pairs) if pairs else story


def openings(story):
    """[(where, noun)] of the nouns of the first sentences that the story is about, or takes up again."""
    low, out, seen = story.lower(), [], set()
    for m in re.finditer(r"\b(?:a|an|his|her|the) ((?:[a-z]+ )?)([a-z]+)\b", low[:260]):
        adj, n = m[1].strip(), m[2]
        if n in seen or n in NOT_SUBJECTS or n in ADJ or len(n) < 3 or n.endswith("ly") or (adj and adj not in ADJ):
            continue
        who = n in ANIMALS or re.match(r" (?:named|called) ", low[m.end():]) or re.search(r"there (?:was|lived) $", low[:m.start()])
        if who or len(re.findall(rf"\b{n}s?\b", low)) > 2:
            seen.add(n)
            out.append((m.start(2), n))
    return out


class Nouns:
    """Words a story may be about: animals, people, things; from the training stories and from lists of nouns."""
    def __init__(self, stories, data):
        def words_in(*names):
            for name in names:
                with open(os.path.join(data, "text", "corpora_lists", name + ".json"), encoding="utf-8") as f:
                    rows = next(v for v in json.load(f).values() if isinstance(v, list))
                yield from (w.lower() for w in rows if isinstance(w, str) and w.isalpha() and w.isascii() and 2 < len(w) < 13)
        count = {}
        for s in stories:
            for _, n in openings(s):
                count[n] = count.get(n, 0) + 1
        people = FEMALE_CHARS | set("boy man king prince father dad grandpa wizard knight farmer".split())
        people |= {w for w in words_in("humans_occupations") if len(w) < 10}
        self.of = {"animal": sorted(ANIMALS | set(words_in("animals_common"))), "person": sorted(people)}
        plural = lambda n: n.endswith("s") and not n.endswith("ss") and n != "bus"
        things = {n for n, k in count.items() if k > 1 and not plural(n)} | set(words_in(
            "objects_objects", "objects_clothing", "foods_fruits", "foods_vegetables", "plants_flowers"))
        self.of["thing"] = sorted(n for n in things if n not in self.of["animal"] and n not in people and not plural(n))
        self.kind = {n: k for k, ns in self.of.items() for n in ns}

    def other(self, noun, rng):
        kind = self.kind.get(noun, "thing")
        return rng.choice(self.of[kind if rng.random() < 0.85 else rng.choice(list(self.of))])


def about(story, nouns, rng, whole):
    """(request, parts) on a noun that stands in the first sentences, or none where nothing fits.

    Often the noun is another one, everywhere in the story: then only the request tells which. Where it is first
    named, it counts more in the loss. Not `whole`: the story as far as two sentences after that, without an end.
    """
    found = openings(story)
    if not found:
        return None
    _, noun = found[0] if rng.random() < 0.6 else rng.choice(found)
    if rng.random() < (0.35 if whole else 0.65):
        new = nouns.other(noun, rng)
        if not re.search(rf"\b{new}", story.lower()):
            story, noun = swap(story, [(noun, new)]), new
    m = re.search(rf"\b{noun}", story.lower())
    if not m:
        return None
    adj = re.search(r"\b(?:a|an) ([a-z]+) $", story[:m.start()])
    subject = article(noun)
    if adj and adj[1] in ADJ and rng.random() < 0.3:
        subject = article(adj[1] + " " + noun)
    elif len(found) > 1 and rng.random() < 0.12:
        rest = [n for _, n in found if n != noun and re.search(rf"\b{n}\b", story.lower())]
        subject += " and " + article(rng.choice(rest)) if rest else ""
    elif rng.random() < 0.04:
        subject = rng.choice(["the " + noun, noun + "s" if not noun.endswith("s") else "a " + noun])
    at = m.start() - (story[m.start() - 1] == " " if m.start() else 0)
    cut = len(story)
    if not whole:
        ends = [e.end() for e in re.finditer(r"[.!?][\"']?(?=\s)", story) if e.end() > m.end()]
        cut = ends[1] if len(ends) > 1 else cut
    again = re.search(rf"\b{noun}", story[m.end():cut].lower())
    w = WEIGHT["story"]
    parts = [(story[:at], w), (story[at:m.end()], 4 * w)]
    if again:
        two = m.end() + again.start() - 1
        parts += [(story[m.end():two], w), (story[two:m.end() + again.end()], 2 * w), (story[m.end() + again.end():cut], w)]
    else:
        parts += [(story[m.end():cut], w)]
    if cut == len(story):
        parts.append(("<|im_end|>", w))
    return rng.choice(ASK).format(s=subject), [p for p in parts if p[0]]


def small_talk(rng, asked):
    kind = rng.choice([*CHAT, "no", "no", "no"])
    am, can, hint = rng.choice(I_AM), rng.choice(I_CAN), rng.choice(TRY)
    if kind == "no":
        return rng.choice(asked), rng.choice([
            f"I am sorry, I do not know. {am} {can}", f"I cannot answer that. {am} {can} {hint}",
            f"I do not know that. I am only ingle-mini, a very small model. {hint}"])
    answer = {"hello": f"Hello! {am} {hint}", "who": f"{am} {can} {hint}",
              "can": f"{can} I am ingle-mini, a very small model: I do not know facts and I make mistakes. {hint}",
              "thanks": f"Thank you! {hint}", "bye": "Goodbye! Come back when you want a story."}[kind]
    return rng.choice(CHAT[kind]), answer


def turn(role, text):
    return f"<|im_start|>{role}\n{text}<|im_end|>\n"


def request(story, rng):
    subject = subjects(story)
    return rng.choice(ASK).format(s=rng.choice(subject)) if subject and rng.random() < 0.8 else rng.choice(ASK_ANY)


TOOLS_END = '</tools>\nTo call one, answer:\n<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>'


def system(text, given=()):
    """The first turn, as the chat template in export.py writes it."""
    if not given:
        return turn("system", text) if text else ""
    lines = "".join("\n" + json.dumps(t, ensure_ascii=False) for t in given)
    return turn("system", (text + "\n\n" if text else "") + "Tools:\n<tools>" + lines + "\n" + TOOLS_END)


# Weights of the loss: what is asked counts a little, answers in full; short answers more, or stories drown them.
ASKED, KINDS = 0.1, ["story", "intent", "spam", "pii", "tool", "talk", "copy"]
WEIGHT = dict(story=2.0, intent=1.0, spam=1.0, pii=3.0, tool=3.0, talk=1.0, copy=2.0)
NAME, LABEL = 6.0, 16.0  # the name of an intent, the label of a message: what must be decided is few tokens
SILENT = {"spam", "pii", "tool", "copy"}  # kinds where what is asked does not count at all
# Examples of each kind in a part of the stream, about 0.08M tokens. `opening`: the first sentences of a story alone;
# `intent` are conversations of one request, `intents` of several over one list, `table` of requests and names alone.
PART = dict(story=40, opening=20, tale=1, intent=60, intents=110, table=60, spam=20, pii=40, tool=20, talk=5, copy=30)


COPY = ["Repeat: %s", "Say this again: %s", "Copy this: %s", 'Put this in JSON: %s', 'As JSON, key "text": %s']
AFTER = ['Which word comes after "%s"? %s', 'Name the word after "%s" in this text. %s', 'What follows "%s"? %s']


def copy(values, vocabulary, rng):
    """Nothing but copying: the other tasks need it, and learn it late when they are alone."""
    text = " ".join(rng.choice(vocabulary) for _ in range(rng.choice([1, 2, 3, 5, 8, 12])))
    if rng.random() < 0.5:
        kind = rng.choice(["PERSON", "LOCATION", "EMAIL_ADDRESS", "PHONE_NUMBER", "ADDRESS", "ORGANIZATION", "CREDIT_CARD", "IBAN_CODE", "DOMAIN_NAME"])
        text = values.made(kind, rng)
    if rng.random() < 0.35:  # digits are pieces of their own, and a sum is copied one by one
        text = f" {rng.choice('+-*/')} ".join(tools.number(rng) for _ in range(rng.choice([1, 2, 2, 3])))
    elif rng.random() < 0.35:
        some = rng.sample(vocabulary, rng.randint(4, 16))
        i = rng.randrange(len(some) - 1)
        text = " ".join(some)
        return rng.choice(AFTER) % (some[i], text), rng.choice([some[i + 1], json.dumps({"text": some[i + 1]})])
    ask = rng.choice(COPY)
    return ask % text, json.dumps({"text": text}, ensure_ascii=False) if "JSON" in ask else text


class Stream:
    """Endless training data in parts; part n follows from the seed and the parts before it."""
    def __init__(self, data=DATA, seed=20261121):
        self.seed = seed
        self.stories, self.dev = load(data)
        self.tales, self.asked = tales(data), questions(data)
        self.spam, sms, _ = labels.spam(data)
        tube = {r["text"].strip()[:500] for r in labels.jsonl(data, "text", "youtube_spam", "comments.jsonl")}
        self.tube = [r for r in self.spam if r[0] in tube]
        self.sms = [r for r in self.spam if r[0] not in tube]
        self.sets, _, self.none = labels.intents(data)
        # The first hundred that fit no intent are clinc150's own.
        rows = [(t, n) for n, texts in self.sets["clinc"].items() for t in texts] + [(t, reworded.NONE) for t in self.none[:100]]
        self.turns = labels.Turns(self.sets, reworded.requests(rows, said(data, self.sets), tasks_eval.tfidf(), seed))
        self.nouns = Nouns(self.stories, data)
        self.pii, _ = pii.rows(data)
        self.pii_others, self.values = pii.others(data), pii.Values(data, self.pii)
        self.pii_said = pii.said(data)
        plain = lambda q: not re.search(r"(?<=[a-z,] )[A-Z](?!\b|')", q)  # a name of somebody would be personal data
        self.clean = [q for q in self.asked if plain(q)] + [t for g in self.sets["hwu"].values() for t in g if t.islower()][::7]
        self.clean += [r[0] for r in self.pii if not r[1]] * 20
        self.vocabulary = sorted({w.strip('.,!?"') for s in self.stories for w in s.split()} - {""})
        self.vocabulary += [w for k in ("first", "last", "city", "word") for w in self.values.lists[k] for _ in range(2)]

    def pick(self, rows, n, part):
        """The next n of the rows, in passes, each pass in another order."""
        order = lambda lap: random.Random(self.seed + lap).sample(range(len(rows)), len(rows))
        lap, i = divmod(part * n, len(rows))
        left = order(lap)[i:]
        while len(left) < n:
            lap += 1
            left += order(lap)
        return [rows[j] for j in left[:n]]

    def with_tools(self, rng):
        return tools.example(self.values.lists["city"], rng)[0]

    def part(self, n):
        """[(kind, [(text, its weight in the loss), ...]), ...] in random order."""
        rng = random.Random(self.seed * 1000 + n)
        out = []

        def put(kind, turns, first=""):
            if not first and rng.random() < 0.05:
                first = turn("system", rng.choice(SYSTEMS))
            parts = []
            for i, (ask, answer) in enumerate(turns):
                parts.append(((first if i == 0 else "\n") + turn("user", ask) + "<|im_start|>assistant\n", 0.0 if kind in SILENT else ASKED))
                parts += [(answer + "<|im_end|>", WEIGHT[kind])] if isinstance(answer, str) else answer
            out.append((kind, parts))
        for whole in (True, False):
            count = PART["story" if whole else "opening"]
            for s in self.pick(self.stories, count, n + 1000 * (not whole)):
                s = vary(s, rng)
                told = about(s, self.nouns, rng, whole) if not whole or rng.random() < 0.6 else None
                if told is None and not whole:
                    continue
                first = [small_talk(rng, self.asked)] if rng.random() < 0.02 else []
                put("story", first + [told or (request(s, rng), s)], system("", self.with_tools(rng)) if rng.random() < 0.01 else "")
        for title, text in self.pick(self.tales, PART["tale"], n):
            put("story", [(f"Tell me the tale called {title}.", text)])
        for _ in range(PART["talk"]):
            put("talk", [small_talk(rng, self.asked)], system("", self.with_tools(rng)) if rng.random() < 0.3 else "")
        for kind, count in (("intent", PART["intent"]), ("intents", PART["intents"])):
            for _ in range(count):
                rows = labels.intent_example(self.turns, self.none, rng, 1 if kind == "intent" else rng.randint(6, 11))
                put("intent", [(ask, [(a, 1.0), (name, NAME), (z + "<|im_end|>", 1.0)]) for ask, (a, name, z) in rows])
        for _ in range(PART["table"]):
            a, b, z = ("Request: ", *("\n" + labels.in_three("intent", "")[0], '"}\n')) if rng.random() < 0.5 else ("", " = ", "\n")
            rows = [p for text, name in labels.intent_table(self.turns, rng, 18 if a else 24)
                    for p in ((a + text + b, ASKED), (name, NAME), (z, ASKED))]
            put("intent", [("Name the intent of each request.", rows + [("<|im_end|>", ASKED)])])
        for rows, share in ((self.tube, 0.7), (self.sms, 0.3)):
            count = round(PART["spam"] * share)
            queue = self.pick(rows, count * 4, n)
            for _ in range(count):
                said = labels.spam_example(lambda: queue.pop() if queue else rng.choice(rows), rng)
                put("spam", [(ask, [(a, 1.0), (label, LABEL), (z + "<|im_end|>", 1.0)]) for ask, (a, label, z) in said])
        for _ in range(PART["pii"]):
            put("pii", [pii.example(self.pii, self.pii_others, self.values, self.clean, self.pii_said, rng)])
        for _ in range(PART["copy"]):
            put("copy", [copy(self.values, self.vocabulary, rng)])
        for _ in range(PART["tool"]):
            given, turns = tools.conversation(self.values.lists["city"], rng)
            put("tool", turns, system(rng.choice(SYSTEMS) if rng.random() < 0.2 else "", given))
        rng.shuffle(out)
        return out


def train_tokenizer(data, path):
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    stream = Stream(data)
    stories = stream.stories
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(QWEN2), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tok.decoder = decoders.ByteLevel()
    text = [t for n in range(24) for kind, parts in stream.part(n) if kind != "story" for t, _ in parts]
    text = [t for chunk in text for t in re.split(r"<\|\w+\|>", chunk)]
    text += stories + [vary(s, random.Random(2)) for s in stories]
    tok.train_from_iterator(text, trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=SPECIAL, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    tok.save(path)
    ids = sum(len(e.ids) for e in tok.encode_batch(stories))
    print(f"{tok.get_vocab_size()} pieces; {len(stories)} stories, {ids} tokens, {sum(map(len, stories)) / ids:.3f} bytes a token")


if __name__ == "__main__":
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--data", default=DATA)
    ap.add_argument("what", choices=["show", "tokenizer"])
    ap.add_argument("arg", nargs="?")
    a = ap.parse_args()
    if a.what == "tokenizer":
        train_tokenizer(a.data, a.arg)
    else:
        stream = Stream(a.data)
        for kind, parts in stream.part(0)[:int(a.arg or 10)]:
            print("=" * 20, kind, "\n" + "".join(t for t, _ in parts))
