"""Requests that nobody wrote, and what they are called: more ways to say each intent than the training texts have.

A request is joined from two or three of one intent where they share a word, and some of its words are changed for words
used alike (beside the same words: positive pointwise mutual information, reduced to 150 directions; Levy and Goldberg
2014). Not what it was made from, but a TF-IDF regression that learned from the training texts says what it is called now;
where that is unsure, the request is dropped. A model that learns from these cannot know them by heart.
"""
import collections, random, re
import numpy as np
import labels

MADE = 160_000
NONE = "none"


def alike(texts, least=8, most=12, directions=150):
    """{word: [(another word, cosine)]} of the words that stand beside the same words."""
    import scipy.sparse as sparse
    from scipy.sparse.linalg import svds
    rows = [["<", *re.findall(r"[a-z']+", t.lower()), ">"] for t in texts]
    count = collections.Counter(w for r in rows for w in r)
    vocabulary = [w for w, n in count.items() if n >= least and w not in "<>"]
    index = {w: i for i, w in enumerate(vocabulary)}
    beside = collections.Counter((index[w], (o, r[i + o])) for r in rows for i, w in enumerate(r) if w in index
                                 for o in (-2, -1, 1, 2) if 0 <= i + o < len(r) and count[r[i + o]] >= least)
    place = {}
    at = np.array([(a, place.setdefault(b, len(place))) for a, b in beside]).T
    m = sparse.coo_matrix((np.fromiter(beside.values(), float), at)).tocsr()
    every, word, context = m.sum(), np.asarray(m.sum(1)).ravel(), np.asarray(m.sum(0)).ravel() ** 0.75
    m = m.tocoo()
    information = np.log(m.data * context.sum() / (word[m.row] * context[m.col]))
    keep = information > 0
    m = sparse.csr_matrix((information[keep], (m.row[keep], m.col[keep])), shape=m.shape)
    u, s, _ = svds(m, k=directions, random_state=1)
    u *= s ** 0.5
    u /= np.linalg.norm(u, axis=1, keepdims=True) + 1e-9
    out = {}
    for i, w in enumerate(vocabulary):
        cosine = u @ u[i]
        cosine[i] = -1
        best = np.argsort(-cosine)[:most]
        out[w] = [(vocabulary[j], float(cosine[j])) for j in best if cosine[j] > 0.45]
    return out


class Maker:
    """`rows`: (text, name) to join; `others`: words used alike."""
    def __init__(self, rows, others):
        self.texts, self.others, self.after = collections.defaultdict(list), others, collections.defaultdict(list)
        for text, name in rows:
            self.texts[name].append(text.split())
        for name, texts in self.texts.items():
            for t in texts:
                for i in range(1, len(t)):
                    self.after[name, t[i - 1]].append(t[i:])
        self.names = sorted(self.texts)

    def one(self, rng):
        name = rng.choice(self.names)
        words = rng.choice(self.texts[name])
        for _ in range(rng.choice([0, 1, 1, 2])):
            if len(words) > 1:
                i = rng.randrange(1, len(words))
                words = words[:i] + rng.choice(self.after.get((name, words[i - 1])) or [words[i:]])
        share = rng.choice([0, 0.1, 0.2, 0.3])
        words = [self.changed(w, rng) if rng.random() < share else w for w in words]
        text = " ".join(words)
        return (labels.said_otherwise(text, rng) if rng.random() < 0.4 else text), name

    def changed(self, word, rng):
        others = self.others.get(word.strip("?.,!"))
        return rng.choices([w for w, _ in others], [c ** 6 for _, c in others])[0] if others else word


def called(name, classes, p):
    """The name of a request made from one called `name`, by the probabilities of all names, or None where they are unsure."""
    best, own = p.argmax(), classes.index(name)
    if p[own] > 0.2 and p[own] > 0.7 * p[best]:
        return name
    return classes[best] if p[best] > 0.5 else None


def requests(rows, texts, teacher, seed, n=MADE):
    """{name: [texts]} of about `n` made requests, "none" among the names where `rows` have it.

    `rows`: (text, name) of the training texts; `texts`: anything, for words used alike; `teacher`: a classifier of scikit-learn."""
    rng, seen, made = random.Random(seed), {labels.same(t) for t, _ in rows}, []
    maker = Maker(rows, alike(texts))
    while len(made) < n:
        text, name = maker.one(rng)
        if (key := labels.same(text)) not in seen and 8 < len(text) < 160:
            seen.add(key)
            made.append((text, name))
    teacher.fit(*zip(*rows))
    classes, out = [str(c) for c in teacher.classes_], collections.defaultdict(list)
    for at in range(0, n, 8000):
        some = made[at:at + 8000]
        for (text, name), p in zip(some, teacher.predict_proba([t for t, _ in some])):
            if name := called(name, classes, p):
                out[name].append(text)
    return out
