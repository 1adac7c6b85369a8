"""A calculator and a clock: tools as a caller may describe them, requests, and the calls that answer them.

The wordings in the lists named HELD are kept for the evaluation.
"""
import json

CALC = [("calculator", "Evaluate an arithmetic expression.", "expression", "The expression, for example 2 + 3 * 4"),
        ("calculate", "Calculate the value of a mathematical expression", "expression", "A mathematical expression"),
        ("calc", "A calculator.", "expr", "The sum to work out"),
        ("evaluate", "Evaluates arithmetic", "expression", None), ("math", "Does maths.", "formula", "The formula"),
        ("calculator", "Useful for any arithmetic: + - * / and brackets", "input", "What to calculate"),
        ("compute", "Compute a number from an expression.", "expression", "Arithmetic expression")]
CLOCK = [("clock", "The current time and date.", None, None), ("clock", "Tell the time in a place.", "place", "City or country"),
         ("get_time", "Get the current time", None, None), ("get_current_time", "Get the current time in a given city", "city", "Name of the city"),
         ("get_current_time", "Returns the current date and time.", "timezone", "Time zone, for example Europe/Paris"),
         ("current_time", "What time is it now?", "location", "The place"), ("clock", "Get the time.", "timezone", "IANA time zone name"),
         ("time", "Returns the time", None, None), ("now", "The time and date now.", "city", None), ("get_datetime", "Date and time.", None, None)]
OTHER = [("get_weather", "Get the weather in a city", {"city": "City"}), ("play_song", "Play a song", {"title": "Title", "artist": "Artist"}),
         ("send_email", "Send an email.", {"to": "Address", "text": "Text"}), ("set_alarm", "Set an alarm", {"time": "Time"}),
         ("search", "Search the web.", {"query": "What to look for"}), ("translate", "Translate a text", {"text": "Text", "language": "Language"})]
ZONES = """London Europe/London;Paris Europe/Paris;Berlin Europe/Berlin;Rome Europe/Rome;Madrid Europe/Madrid;Vienna Europe/Vienna;
Lisbon Europe/Lisbon;Dublin Europe/Dublin;Moscow Europe/Moscow;Athens Europe/Athens;Oslo Europe/Oslo;Stockholm Europe/Stockholm;
Zurich Europe/Zurich;Amsterdam Europe/Amsterdam;Warsaw Europe/Warsaw;Prague Europe/Prague;Istanbul Europe/Istanbul;Cairo Africa/Cairo;
Lagos Africa/Lagos;Nairobi Africa/Nairobi;Tokyo Asia/Tokyo;Seoul Asia/Seoul;Shanghai Asia/Shanghai;Singapore Asia/Singapore;
Hong Kong Asia/Hong_Kong;Bangkok Asia/Bangkok;Dubai Asia/Dubai;Jakarta Asia/Jakarta;Manila Asia/Manila;Karachi Asia/Karachi;
New York America/New_York;Chicago America/Chicago;Denver America/Denver;Los Angeles America/Los_Angeles;Toronto America/Toronto;
Mexico City America/Mexico_City;Bogota America/Bogota;Lima America/Lima;Sydney Australia/Sydney;Melbourne Australia/Melbourne;
Perth Australia/Perth;Auckland Pacific/Auckland;Honolulu Pacific/Honolulu""".replace("\n", "")
ZONES = dict(z.rsplit(" ", 1) for z in ZONES.split(";"))
NOW = """What time is it?;what time is it;What time is it now?;Tell me the time.;tell me the time please;What is the time?;
Do you know what time it is?;Can you tell me the time?;The time, please.;Current time?;What's the time right now?;
what's the time;Could you check the clock?;Time?;I need to know the time.;How late is it?;Please give me the current time.;
What day is it today?;What is today's date?;what's the date;Which day is it?;Do you have the time?;Is it late?;
Check the time for me.;What does the clock say?;Say what time it is.;Hello, the time please;What hour is it?;Today's date, please.;
Which date do we have today?;Read me the clock.;is it already evening?;What's today?;Let me know the time.""".replace("\n", "").split(";")
NOW_HELD = """Hey, what time is it right now?;Could you tell me what time it is, please?;Look at the clock for me.;
I wonder what time it is.;Give me the time now.;What is the current time?;what is the date today;Hi! Do you know the time?;
Can you check what time it is?;time please""".replace("\n", "").split(";")
THERE = """What time is it in {p}?;what time is it in {p};What time is it now in {p}?;Tell me the time in {p}.;Current time in {p}?;
What's the time in {p}?;What is the time in {p} now?;I want to call a friend in {p}. What time is it there?;Time in {p};
Do you know what time it is in {p}?;How late is it in {p}?;Can you tell me the time in {p}?;the time in {p} please;
My sister lives in {p}. Is it night there?;Is it morning in {p}?;What hour is it in {p}?;clock in {p};{p} time?;Hey, what's the time over in {p}?;
I fly to {p} tomorrow. What time do they have?;Let me know the time in {p}.;Are people in {p} asleep now?;
What does the clock say in {p}?;time now in {p}?;What's the hour in {p}?;Has the day begun in {p}?""".replace("\n", "").split(";")
THERE_HELD = """Please check the clock in {p}.;What is the current time in {p}?;what's the time right now in {p};
If I call {p}, what time will it be there?;Could you tell me what time it is in {p}?;Give me the local time of {p}.""".replace("\n", "").split(";")
SUM = """What is {e}?;what is {e};{e};{e} = ?;Calculate {e};calculate {e}.;How much is {e}?;how much is {e};Work out {e}.;
Compute {e};Please calculate {e}.;What's {e}?;Can you work out {e}?;Tell me what {e} is.;Solve {e};I need {e}.;{e}?;
Could you add this up: {e};Evaluate {e}.;Do you know {e}?;Give me {e}.;Hi, what's {e}?;Let me know what {e} comes to.;
{e} is what?;Quick: {e};Could you calculate {e} please?;Use the calculator: {e};Run the numbers: {e}.;
Help me with {e}.;Sum: {e};Say what {e} equals.;{e} equals?;Is {e} a big number? How much is it?""".replace("\n", "").split(";")
SUM_HELD = """Hey, how much is {e}?;Can you compute {e} for me?;What does {e} make?;Please tell me the result of {e}.;
I'd like to know {e}.;Find {e}.;what do you get for {e}""".replace("\n", "").split(";")
SAID = [("+", ["plus", "+", "and", "added to"]), ("-", ["minus", "-", "take away", "less"]),
        ("*", ["times", "*", "x", "multiplied by", "\u00d7"]), ("/", ["divided by", "/", "over", "\u00f7"])]
TOLD = [("I have {a} {n} and buy {b} more. How many do I have?", "{a} + {b}"), ("There were {a} {n}. {b} are gone. How many are left?", "{a} - {b}"),
        ("One box holds {a} {n}. How many are in {b} boxes?", "{a} * {b}"), ("Share {a} {n} among {b} children.", "{a} / {b}"),
        ("A ticket costs {a} euros. What do {b} tickets cost?", "{a} * {b}"), ("What is {b}% of {a}?", "{a} * {b} / 100"),
        ("what is {b} percent of {a}", "{a} * {b} / 100"), ("How much is {b} percent of {a}?", "{a} * {b} / 100"),
        ("Add {a} and {b}.", "{a} + {b}"), ("Add {a} to {b}", "{b} + {a}"), ("Subtract {b} from {a}.", "{a} - {b}"),
        ("Multiply {a} by {b}.", "{a} * {b}"), ("Divide {a} by {b}", "{a} / {b}"), ("What is the sum of {a} and {b}?", "{a} + {b}"),
        ("What is the product of {a} and {b}?", "{a} * {b}"), ("What is the difference of {a} and {b}?", "{a} - {b}"),
        ("Half of {a}?", "{a} / 2"), ("What is twice {a}?", "{a} * 2"), ("Double {a}.", "{a} * 2"), ("What is {a} squared?", "{a} * {a}"),
        ("I earn {a} a day. How much in {b} days?", "{a} * {b}"), ("I had {a} euros and spent {b}. What is left?", "{a} - {b}"),
        ("Ann found {a} {n} and then {b} others. How many are there?", "{a} + {b}"), ("Put {a} {n} and {b} {n} together.", "{a} + {b}"),
        ("Count {a} {n} and another {b}.", "{a} + {b}"), ("My sister owns {a} {n}, I own {b}. How many do we own?", "{a} + {b}"),
        ("Yesterday I saw {a} {n}, today {b}. How many in all?", "{a} + {b}"), ("{a} {n} and {b} {n}, how many is that?", "{a} + {b}"),
        ("{a} increased by {b}", "{a} + {b}"), ("Sue got {a} points and later {b}. What is her total?", "{a} + {b}"),
        ("Remove {b} from {a}.", "{a} - {b}"), ("Reduce {a} by {b}.", "{a} - {b}"), ("Deduct {b} from {a}", "{a} - {b}"),
        ("What remains of {a} when {b} are lost?", "{a} - {b}"), ("Ben ate {b} of his {a} {n}. How many remain?", "{a} - {b}"),
        ("Of {a} {n} we sold {b}. How many do we still have?", "{a} - {b}"), ("{a} decreased by {b}", "{a} - {b}"),
        ("How far is it from {b} to {a}?", "{a} - {b}"), ("We need {a} {n} and have {b}. How many are missing?", "{a} - {b}"),
        ("A shelf carries {a} {n}. How many do {b} shelves carry?", "{a} * {b}"), ("There are {a} {n} on every table. We have {b} tables.", "{a} * {b}"),
        ("Every child brings {a} {n}. {b} children come. How many {n}?", "{a} * {b}"), ("{b} rows of {a} {n}", "{a} * {b}"),
        ("I read {a} pages a week. How many in {b} weeks?", "{a} * {b}"), ("Take {a} {b} times.", "{a} * {b}"),
        ("Find the product: {a}, {b}.", "{a} * {b}"), ("{a} {n} are packed {b} to a box. How many boxes?", "{a} / {b}"),
        ("Give {b} friends the same share of {a} {n}.", "{a} / {b}"), ("How often does {b} go into {a}?", "{a} / {b}"),
        ("Cut {a} into {b} pieces of the same size.", "{a} / {b}"), ("{b} people pay {a} euros together. What does one pay?", "{a} / {b}"),
        ("Tell me {b}% of {a}.", "{a} * {b} / 100"), ("I need {b} percent of {a}.", "{a} * {b} / 100"), ("{b}% of {a}?", "{a} * {b} / 100"),
        ("a tip of {b} percent on {a}", "{a} * {b} / 100"), ("Three times {a}?", "{a} * 3"), ("A third of {a}", "{a} / 3"),
        ("What is a quarter of {a}?", "{a} / 4"), ("Halve {a}.", "{a} / 2"), ("Square {a}", "{a} * {a}")]
TOLD_HELD = [("Tom has {a} {n} and gets {b} more. How many has he now?", "{a} + {b}"), ("Take {b} away from {a}.", "{a} - {b}"),
             ("Each bag has {a} {n}. How many are in {b} bags?", "{a} * {b}"), ("Split {a} {n} into {b} equal parts.", "{a} / {b}"),
             ("What's {b}% of {a}", "{a} * {b} / 100"), ("Please multiply {a} and {b}.", "{a} * {b}")]
THINGS = "apples coins books eggs cards stamps marbles cookies pens stones flowers balls".split()
DONE = ["{e} is {v}.", "It is {v}.", "The answer is {v}.", "{v}."]


def schema(name, about, parameters):
    p = {k: {"type": "string", **({"description": d} if d else {})} for k, d in parameters.items()}
    return {"type": "function", "function": {"name": name, "description": about,
            "parameters": {"type": "object", "properties": p, "required": list(parameters)}}}


def calculator(rng):
    if rng.random() < 0.12:
        name, about, _, _ = rng.choice(CALC)
        a, b, op = rng.choice([("a", "b", "operation"), ("x", "y", "op"), ("left", "right", "operator")])
        t = schema(name, about, {a: None, b: None, op: "One of + - * /"})
        for k in (a, b):
            t["function"]["parameters"]["properties"][k] = {"type": "number"}
        return t, ("three", a, b, op)
    name, about, key, d = rng.choice(CALC)
    return schema(name, about, {key: d}), ("one", key)


def clock(rng):
    name, about, key, d = rng.choice(CLOCK)
    t = schema(name, about, {key: d} if key else {})
    if key:
        t["function"]["parameters"]["required"] = [] if rng.random() < 0.6 else [key]
    return t, key


def number(rng):
    p = rng.random()
    n = rng.randint(0, 20) if p < 0.2 else rng.randint(10, 99) if p < 0.5 else rng.randint(100, 999) if p < 0.75 else rng.randint(1000, 99999)
    return f"{n}.{rng.randint(1, 99)}" if rng.random() < 0.1 else str(n)


def value(expression):
    try:
        return f"{round(eval(expression, {'__builtins__': {}}), 4):g}"  # made here, of digits and + - * / ( ) alone
    except (ZeroDivisionError, SyntaxError):
        return None


def arithmetic(rng, held):
    """(request, expression, (a, operator, b) or None)."""
    a, b, c = number(rng), number(rng), number(rng)
    if rng.random() < (0.3 if held else 0.45):
        ask, e = rng.choice(TOLD_HELD if held else TOLD)
        e = e.format(a=a, b=b)
        parts = e.split(" ")
        return ask.format(a=a, b=b, n=rng.choice(THINGS)), e, tuple(parts) if len(parts) == 3 else None
    op, said = rng.choice(SAID)
    word = rng.choice(said[:2] if rng.random() < 0.8 else said)
    tight = "" if word in "+-*/" and rng.random() < 0.3 else " "
    e, shown, parts = f"{a} {op} {b}", f"{a}{tight}{word}{tight}{b}", (a, op, b)
    if rng.random() < 0.2:
        op2, said2 = rng.choice(SAID)
        e, shown, parts = f"{e} {op2} {c}", f"{shown} {said2[0 if word.isalpha() else 1]} {c}", None
        if not word.isalpha() and rng.random() < 0.4:
            e, shown = f"({a} {op} {b}) {op2} {c}", f"({shown.rsplit(' ', 2)[0]}) {op2} {c}"
    return rng.choice(SUM_HELD if held else SUM).format(e=shown), e, parts


def call(name, arguments):
    return "<tool_call>\n" + json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False) + "\n</tool_call>"


def arguments(how, e, parts):
    """What a calculator that takes its arguments as `how` says is called with."""
    num = lambda s: float(s) if "." in s else int(s)
    return {how[1]: e} if how[0] == "one" else {how[1]: num(parts[0]), how[2]: num(parts[2]), how[3]: parts[1]}


def outcome(e, rng):
    """(the calculator's result, the closing answer)."""
    v = value(e)
    return ("error: division by zero", "That cannot be divided by zero.") if v is None else (v, rng.choice(DONE).format(e=e, v=v))


def time_of(t, key, cities, rng, held):
    """(request, the arguments of the call, the clock's result, the closing answer)."""
    optional = not t["function"]["parameters"]["required"]
    place = rng.choice(list(ZONES)) if key == "timezone" or rng.random() < 0.3 else rng.choice(cities)
    if key and (not optional or rng.random() < 0.7):
        ask = rng.choice(THERE_HELD if held else THERE).format(p=place)
        args = {key: ZONES[place] if key == "timezone" else place}
    else:
        ask, args = rng.choice(NOW_HELD if held else NOW), {}
    now = f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}"
    return ask, args, now, f"It is {now}" + (f" in {place}." if args else ".")


def conversation(cities, rng):
    """(tools, [(what is said, the answer)]): one to four requests of the same tools."""
    (sums, how), (time, key) = calculator(rng), clock(rng)
    p = rng.random()
    tools = [sums, time] if p < 0.55 else [sums] if p < 0.85 else [time]
    turns = []
    for _ in range(rng.choice([1, 2, 3, 4])):
        t = rng.choice(tools + [sums] * (sums in tools))
        if t is sums:
            ask, e, parts = arithmetic(rng, False)
            while how[0] == "three" and parts is None:
                ask, e, parts = arithmetic(rng, False)
            args, (result, say) = arguments(how, e, parts), outcome(e, rng)
        else:
            ask, args, result, say = time_of(t, key, cities, rng, False)
        turns.append((ask, call(t["function"]["name"], args)))
        if rng.random() < 0.35:
            turns.append((f"<tool_response>\n{result}\n</tool_response>", say))
    if rng.random() < 0.15:
        tools = tools + [other(rng)]
    return rng.sample(tools, len(tools)), turns


def other(rng):
    name, about, p = rng.choice(OTHER)
    return schema(name, about, p)


def example(cities, rng, held=False, what=None):
    """(tools, request, what the answer must be: name and arguments)."""
    what = what or rng.choice(["calculator", "calculator", "clock"])
    if what == "calculator":
        ask, e, parts = arithmetic(rng, held)
        t, how = calculator(rng)
        while how[0] == "three" and parts is None:
            t, how = calculator(rng)
        args = arguments(how, e, parts)
        tools = [t] + ([clock(rng)[0]] if rng.random() < 0.6 else [])
        outcome(e, rng)  # so that the requests stay those that version 2 was asked
    else:
        t, key = clock(rng)
        ask, args, _, _ = time_of(t, key, cities, rng, held)
        tools = [t] + ([calculator(rng)[0]] if rng.random() < 0.6 else [])
    if rng.random() < 0.15:
        tools.append(other(rng))
    rng.shuffle(tools)
    return tools, ask, (t["function"]["name"], args)
