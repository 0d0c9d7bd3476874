# %% [markdown]
# # 1 · RNN from scratch
#
# **About two hours**, half of it exercises. Afterwards you can
#
# - write a recurrent network with nothing but matrix products, and check it against PyTorch's own,
# - say which input and output sizes it can deal with, and build each of them,
# - train it to tell languages apart, to invent names, to read handwriting, and to pronounce English.
#
# You need PyTorch tensors, cross-entropy, and `loss.backward()`. How gradients travel back through time is
# the subject of notebook 2; here PyTorch does it.

# %% tags=["bootstrap"]

# %%
import sys

import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from cvdl import (
    budget,
    check,
    exercise,
    explore,
    hint,
    outcome,
    progress,
    seed,
    show,
    use_library,
)
from cvdl.sequence import tasks
from cvdl.sequence.plotting import draw

# %% [markdown]
# ## A belief to lose
#
# Here are family names in several languages, from the data of this notebook.

# %%
people = tasks.names()
print(f"{len(people.train)} names to learn from, {len(people.test)} to be tested on")
print(f"{len(people.symbols)} languages, for example:")
for name, language in people.train[::700]:
    print(f"{name:>14}  {language}")

# %% [markdown]
# The shortest names have two or three letters, the longest more than a dozen. A network is to read a name
# and say the language.
#
# **Before you go on, write down a guess.** Network A reads names of up to 10 letters, network B of up to
# 1,000. How many times more weights does B need? Exercise 3 counts them.

# %% [markdown]
# ## A network with a memory
#
# A *recurrent* network reads one input after the other. It keeps a **hidden state** $h_t$, a vector that
# stands for everything read so far. At each step it makes a new state from the input and the old state.

# %%
show(
    draw.folded_and_unrolled(),
    "Left: input x_t goes through V into the state h_t, which feeds back on itself through W "
    "and goes through U to the output y_t. Right: the same laid out in time, four columns "
    "from x_1 to y_4; W leads from each state to the next, beginning at h_0. All columns "
    "share V, W and U.",
)

# %% [markdown]
# On the left the network has a loop. On the right the loop is **unrolled**: one column per time step. It is
# the same network in every column, with the same weights.
#
# $$h_t = f_h(V x_t + W h_{t-1} + b_h) \qquad\qquad \hat y_t = f_y(U h_t + b_y)$$
#
# | symbol | what | shape |
# |---|---|---|
# | $x_t$ | input at step $t$ | $D$ |
# | $h_t$ | hidden state | $H$ |
# | $\hat y_t$ | output | $K$ |
# | $V, W, U$ | weights: input → state, state → state, state → output | $H{\times}D$, $H{\times}H$, $K{\times}H$ |
# | $b_h, b_y$ | biases | $H$, $K$ |
#
# $f_h$ is $\tanh$. $f_y$ depends on the task; for classes it is softmax, and we leave it to the loss.

# %% [markdown]
# ### Rows are samples
#
# The formula multiplies a matrix by a column, $V x_t$. In code we treat a whole batch at once, and **each
# row is a sample**: `x` is `(B, D)`. For rows the same product is written `x @ V.T`.

# %%
V, x = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), torch.tensor([10.0, 1.0])
print("column:", V @ x)
print("row:   ", x[None] @ V.T)

# %% [markdown]
# The numbers agree. With rows, one product serves all samples of a batch.

# %% [markdown]
# > **Exercise 1 · `rnn.step`** · easy · 10 minutes · 15 points
# >
# > Write one step, $h_t = \tanh(V x_t + W h_{t-1} + b_h)$, for a batch of rows.
# >
# > *You see* «shapes cannot be multiplied»? Print the shapes of the two factors: the inner numbers must agree.


# %%
@exercise("rnn.step", points=15)
def rnn_step(x, h, V, W, b_h):
    """One step of an Elman RNN.

    x: (B, D), h: (B, H), V: (H, D), W: (H, H), b_h: (H,) -> (B, H)
    """
    ### BEGIN SOLUTION
    return torch.tanh(x @ V.T + h @ W.T + b_h)
    ### END SOLUTION


# %%
check("rnn.step")

# %% tags=["expect"]
V, W, b_h = torch.tensor([[1.0], [0.0]]), torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.zeros(2)
h = torch.zeros(1, 2)
for t, x in enumerate([2.0, 0.0, 0.0], 1):
    h = rnn_step(torch.tensor([[x]]), h, V, W, b_h)
    print(f"step {t}: x = {x}, h = {h[0].numpy().round(3)}")

# %% [markdown]
# The input 2 comes at step 1 only. At step 2 a trace of it is in the *second* unit: $W$ copied it there from
# the first. At step 3 it is gone, since this $W$ leads nowhere from the second unit. What a network remembers,
# and for how long, is in $W$.

# %% [markdown]
# ## Unrolling
#
# To read a sequence, repeat the step. Sequences come with **time first**: `xs` is `(T, B, D)`, so `xs[t]`
# is the batch at step $t$.

# %% [markdown]
# > **Exercise 2 · `rnn.unroll`** · medium · 10 minutes · 15 points
# >
# > Start from `h0`, run the step over all of `xs`, and return the states of all steps.
# > You may call `rnn_step`.
# >
# > *Your result has one state too many?* $h_0$ is where you start; it is not an answer.


# %%
@exercise("rnn.unroll", points=15)
def rnn_unroll(xs, h0, V, W, b_h):
    """All states of an Elman RNN.  xs: (T, B, D), h0: (B, H) -> (T, B, H)"""
    ### BEGIN SOLUTION
    states, h = [], h0
    for x in xs:
        h = rnn_step(x, h, V, W, b_h)
        states.append(h)
    return torch.stack(states)
    ### END SOLUTION


# %%
check("rnn.unroll")

# %% tags=["expect"]
seed(1)
D, H = 26, 8
V, W, b_h = torch.randn(H, D), 0.5 * torch.randn(H, H), torch.zeros(H)
word = "garcia"
places = torch.tensor([ord(letter) - ord("a") for letter in word])  # a is 0, z is 25
letters = F.one_hot(places, D).float()[:, None]  # (T, 1, D)
states = rnn_unroll(letters, torch.zeros(1, H), V, W, b_h)
print("letters", tuple(letters.shape), "-> states", tuple(states.shape))
print("last state:", [f"{v:.2f}" for v in states[-1, 0]])

# %% [markdown]
# A letter is given as a **one-hot** vector: 26 numbers, a 1 at its place and 0 elsewhere. Step through the word
# with the slider and watch the state change. (The weights are random: nothing has been learned yet.)

# %%
with_h0 = torch.cat([torch.zeros(1, H), states[:, 0]])

explore(
    lambda t, word=word, states=with_h0: draw.unrolled(list(word), states, t),
    f"The network unrolled over the letters of “{word}”, drawn up to step {{t}}, and bars for "
    "the eight units of the state before (dotted) and after (filled) that step.",
    t=(0, len(word), 2),
)

# %% [markdown]
# Each letter changes every unit, and the change depends on the state as well as on the letter: the first *a*
# and the last *a* of “garcia” do different things.

# %% [markdown]
# ### The whole network
#
# With weights as parameters and your two functions inside, this is a complete recurrent network. It returns
# the outputs $U h_t + b_y$ and the states.


# %%
class RNN(nn.Module):
    def __init__(self, inputs, hidden, outputs):
        super().__init__()
        D, H, K, limit = inputs, hidden, outputs, hidden**-0.5
        shapes = [(H, D), (H, H), (H,), (K, H), (K,)]
        weights = [nn.Parameter(torch.empty(shape).uniform_(-limit, limit)) for shape in shapes]
        self.V, self.W, self.b_h, self.U, self.b_y = weights

    def forward(self, xs, h0=None):
        h0 = xs.new_zeros(xs.shape[1], len(self.b_h)) if h0 is None else h0
        states = rnn_unroll(xs, h0, self.V, self.W, self.b_h)  # (T, B, H)
        return self.read(states), states

    def read(self, states):
        return states @ self.U.T + self.b_y  # (..., K)


# %% [markdown]
# Is it right? PyTorch has the same layer, `nn.RNN`, with two bias vectors that it adds up. We copy our
# weights into it, set the second bias to zero, and compare.

# %%
# NBVAL_CHECK_OUTPUT (a mark for the automatic tests: this output is compared)
seed(0)
ours, theirs = RNN(5, 7, 3), nn.RNN(5, 7)
theirs.load_state_dict(
    {
        "weight_ih_l0": ours.V.detach(),
        "weight_hh_l0": ours.W.detach(),
        "bias_ih_l0": ours.b_h.detach(),
        "bias_hh_l0": torch.zeros(7),
    }
)
xs = torch.randn(20, 4, 5)
apart = (ours(xs)[1] - theirs(xs)[0]).abs().max().item()
print("greatest difference over 20 steps below 1e-6:", apart < 1e-6)

# %% [markdown]
# Your loop and PyTorch's layer compute the same. (If the line says `False`, your `rnn_step` or `rnn_unroll` still
# has a mistake: see their checks, or go on with `use_library("rnn.step")` and `use_library("rnn.unroll")`.)

# %% [markdown]
# ## What does length cost?
#
# > **Exercise 3 · `rnn.parameters`** · easy · 5 minutes · 10 points
# >
# > Count the learned numbers of the whole network: $V, W, b_h, U, b_y$.


# %%
@exercise("rnn.parameters", points=10)
def count_parameters(D, H, K, T):
    """Learned numbers of an RNN with D inputs, H units, K outputs, run for T steps -> int"""
    ### BEGIN SOLUTION
    hidden = H * D + H * H + H
    readout = K * H + K
    return hidden + readout
    ### END SOLUTION


# %%
check("rnn.parameters")

# %% tags=["expect"]
for T in (10, 1000):  # 27 inputs: 26 letters and a symbol for the end of the name
    print(f"names of up to {T:>5} letters: {count_parameters(27, 128, 16, T):,} parameters")

# %% [markdown]
# The same number. Look back at your guess: length costs *time*, not *weights*. The weights are shared by all
# steps, just as a convolution shares its weights between all pixels.

# %% [markdown]
# ## Five shapes
#
# Since each step is the same, one is free to choose at which steps inputs go in and outputs come out.

# %%
show(
    draw.five_shapes(),
    "Five small unrolled networks. One-to-one: one step with input and output. One-to-many: "
    "input at the first of three steps, outputs at all. Many-to-one: inputs at all three "
    "steps, output at the last. Many-to-many in step: input and output at each step. "
    "Many-to-many encoder-decoder: inputs at the first two steps, outputs at the last three.",
)

# %% [markdown]
# > **Exercise 4 · `rnn.match`** · easy · 5 minutes · 10 points
# >
# > Match problems to models: give each problem its shape, one of
# > `"one-to-one"`, `"one-to-many"`, `"many-to-one"`, `"many-to-many in step"`, `"many-to-many encoder-decoder"`.
# >
# > *You see* «`NameError: name 'one'`»? The quotes are missing.


# %%
@exercise("rnn.match", points=10)
def match_shapes():
    """Write the name of a shape, in quotes, in place of each `...`."""
    ### BEGIN SOLUTION
    return {
        "frame-wise video classification": "many-to-many in step",
        "image captioning": "one-to-many",
        "image classification": "one-to-one",
        "sentiment analysis": "many-to-one",
        "machine translation": "many-to-many encoder-decoder",
    }
    ### END SOLUTION


# %%
check("rnn.match")

# %% [markdown]
# The rest of this notebook builds all five, each on real data.
#
# <details><summary>What if input and output are both sequences, of one length, but the first output needs the last input?</summary>
#
# Then *in step* is not enough: at step 1 the network has seen one input only. One lets it read everything first
# (encoder-decoder), or adds a second network that reads backwards (bidirectional, notebook 3).
# </details>

# %% [markdown]
# ## The loss of a sequence
#
# Each step has its own loss $\mathcal L_t(\hat y_t, y_t)$; the loss of the sequence is their sum:
#
# $$\mathbf L = \sum_t \mathcal L_t(\hat y_t, y_t)$$
#
# (The slide of the lecture that this course accompanies has $\sum_i$ before terms with the index $t$. That is a
# misprint: the sum runs over $t$.)
#
# In a batch, sequences have different lengths. The shorter ones are filled up with **padding**, and a *mask*
# `(T, B)` says which steps are real. Padding must not cost anything.

# %% [markdown]
# > **Exercise 5 · `rnn.loss`** · medium · 15 minutes · 15 points
# >
# > Cross-entropy per step, **summed** over the steps that count, then averaged over the sequences of the batch.
# >
# > *The loss is `nan` or `inf`?* Do not take `exp` and `log` yourself; `F.cross_entropy` does both safely.


# %%
@exercise("rnn.loss", points=15)
def sequence_loss(logits, targets, mask):
    """L = sum_t L_t, mean over the batch.

    logits: (T, B, K), targets: (T, B) long, mask: (T, B) bool -> scalar
    Where mask is False the target is 0 and means nothing.
    """
    ### BEGIN SOLUTION
    T, B, K = logits.shape
    each = F.cross_entropy(logits.reshape(T * B, K), targets.reshape(T * B), reduction="none")
    return (each.reshape(T, B) * mask).sum() / B
    ### END SOLUTION


# %%
check("rnn.loss")

# %% tags=["expect"]
undecided = torch.zeros(10, 1, 16)  # ten steps, sixteen classes, no preference
mask = torch.arange(10)[:, None] < 4  # the sequence has four steps
print(f"{sequence_loss(undecided, torch.zeros(10, 1, dtype=torch.long), mask):.4f}")

# %% [markdown]
# That is $4 \ln 16$: who knows nothing about $K$ classes pays $\ln K$ per step, and four steps count. Keep this in
# mind. If a training starts far above $\ln K$ per step, something is wrong.

# %% [markdown]
# ### One training loop for all
#
# The five networks below differ in their wiring. They share this loop: Adam, a learning rate that falls to
# zero, and gradients clipped to norm 1 (notebook 2 shows why). The bar shows the first and the latest loss.


# %%
def fit(name, parameters, loss_of, count, steps, batch=64, lr=3e-3):
    """Minimise loss_of(indices of a batch) over `steps` batches drawn from `count` samples."""
    parameters, first = list(parameters), None
    optimiser = torch.optim.Adam(parameters, lr=lr)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
    choose = tasks.batches(count, batch, steps, torch.default_generator)
    bar = tqdm(choose, total=steps, desc=name, file=sys.stdout, ncols=90, mininterval=1)
    for index in bar:
        loss = loss_of(index)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        first = loss.item() if first is None else first
        bar.set_postfix_str(f"loss {first:.2f} -> {loss.item():.2f}", refresh=False)


# %% [markdown]
# These networks are small, and a loop over time keeps a GPU waiting. So all of this runs on the CPU, and on one
# thread, since several would spend their time waiting for each other.

# %%
torch.set_num_threads(1)

# %% [markdown]
# ## One-to-one: a digit
#
# The simplest shape is no sequence at all: $T = 1$. One image of a handwritten digit goes in, 8×8 pixels, one
# class comes out. (Data: scikit-learn's digits. The test digits are from other writers.)

# %%
seed(0)
pictures = tasks.digits()
images, labels = pictures.train
test_images, test_labels = pictures.test
digit_net = RNN(64, 64, 10)


def digit_loss(index):
    x, y = images[index].reshape(1, -1, 64), labels[index][None]  # T = 1
    return sequence_loss(digit_net(x)[0], y, torch.ones_like(y, dtype=torch.bool))


fit("digits", digit_net.parameters(), digit_loss, len(images), steps=600)
with torch.no_grad():
    digit_answer = digit_net(test_images.reshape(1, -1, 64))[0][0].argmax(-1)
digit_accuracy = (digit_answer == test_labels).float().mean().item()
print(f"right on {digit_accuracy:.1%} of {len(test_labels)} digits by other writers")
outcome("more than 85 % of the digits are read rightly", digit_accuracy > 0.85)

# %% [markdown]
# With one step, $W$ meets only $h_0 = 0$ and does nothing. A recurrent network of one step is an ordinary network
# with one hidden layer.

# %% [markdown]
# ## Many-to-one: which language?
#
# Now the names. All letters go in, one answer comes out **after the last letter**. A symbol for «end» follows
# each name, so that the network knows it is over.
#
# In a padded batch the sequences end at different steps.

# %% [markdown]
# > **Exercise 6 · `rnn.last`** · medium · 10 minutes · 10 points
# >
# > From the states of all steps, take for each sequence the one after *its own* last step.
# >
# > *You get shape `(B, B, H)`?* Indexing with one tensor picks whole rows; with two it picks pairs.


# %%
@exercise("rnn.last", points=10)
def last_state(hs, lengths):
    """hs: (T, B, H) states, lengths: (B,) long, each from 1 to T -> (B, H)"""
    ### BEGIN SOLUTION
    return hs[lengths - 1, torch.arange(len(lengths))]
    ### END SOLUTION


# %%
check("rnn.last")

# %% tags=["expect"]
counting = torch.arange(1, 6).reshape(5, 1, 1).expand(5, 3, 1)  # the state at step t is t
last_state(counting, torch.tensor([5, 1, 3]))

# %% [markdown]
# Names become ids, and ids become one-hot rows. Behind a shorter name stands `tasks.PAD`, which `one_hot` turns into
# a row of zeros.

# %%
alphabet = tasks.Alphabet()
languages = len(people.symbols)
language_of = {language: i for i, language in enumerate(people.symbols)}


def encode(rows):
    """(name, language) pairs -> ids (T, N), lengths (N,), languages (N,)"""
    ids, lengths = tasks.pad([alphabet.encode(name) for name, _ in rows])
    return ids, lengths, torch.tensor([language_of[language] for _, language in rows])


train, test = encode(people.train), encode(people.test)


def language_logits(net, ids, lengths):
    states = net(tasks.one_hot(ids, len(alphabet)))[1]
    return net.read(last_state(states, lengths))  # (B, K)


# %%
seed(0)
reader = RNN(len(alphabet), 128, len(people.symbols))


def reader_loss(index):
    ids, lengths, language = (d[..., index] for d in train)  # the names of this batch
    return F.cross_entropy(language_logits(reader, ids[: lengths.max()], lengths), language)


steps = budget(quick=100, laptop=2000, gpu=2000)
fit("languages", reader.parameters(), reader_loss, len(people.train), steps)


def accuracy(rows):
    ids, lengths, language = encode(rows)
    with torch.no_grad():
        answers = language_logits(reader, ids, lengths).argmax(-1)
    return (answers == language).float().mean().item()


reader_accuracy = accuracy(people.test)
majority = torch.bincount(test[2]).max().item() / len(people.test)
print(
    f"right on {reader_accuracy:.1%} of {len(people.test)} new names; always the commonest "
    f"language: {majority:.1%}"
)
outcome(
    "it is right on more than half of the names",
    reader_accuracy > 0.5 > 4 * majority,
    needs="laptop",
)

# %% [markdown]
# One network, names of all lengths. Where does it err?

# %%
with torch.no_grad():
    answers = language_logits(reader, *test[:2]).argmax(-1)
pairs = languages * test[2] + answers
confusion = torch.bincount(pairs, minlength=languages**2).reshape(languages, languages)
share = confusion / confusion.sum(1, keepdim=True)
mixed = share.fill_diagonal_(0).flatten()
mistakes = []
for pair in mixed.topk(6).indices.tolist():
    truth, answer = divmod(pair, languages)
    mistakes.append(f"{people.symbols[truth]} taken for {people.symbols[answer]}")
print("commonest mistakes:", " · ".join(mistakes))
show(
    draw.confusion(confusion, people.symbols),
    f"Confusion matrix of {languages} languages. The diagonal holds {reader_accuracy:.0%} of the names. "
    f"Commonest mistake: {mistakes[0]}.",
)

# %% [markdown]
# Read along a row: what happens to names of that language? Now look at the list of the commonest mistakes. What have the
# two languages of each in common?
#
# <details><summary>An answer</summary>
#
# Most are neighbours, in the family of languages or on the map. Spanish and Italian are sisters, and so are Polish
# and Slovak. English, Dutch, German and French have lived next door to each other for a thousand years.
# </details>

# %% [markdown]
# ### Does it use the order of the letters?
#
# Or does it only see *which* letters there are? To find out, we shuffle the letters of each test name and ask
# again.

# %%
shuffle = torch.Generator().manual_seed(0)
anagrams = []
for name, language in people.test:
    order = torch.randperm(len(name), generator=shuffle)
    anagrams.append(("".join(name[i] for i in order), language))
anagram_accuracy = accuracy(anagrams)
print(f"names {reader_accuracy:.1%}, anagrams {anagram_accuracy:.1%}")
outcome(
    "anagrams are recognised much less often",
    anagram_accuracy < reader_accuracy - 0.2,
    needs="laptop",
)

# %% [markdown]
# The letters are the same, the answers are not. Much of what the network knows is in the order.

# %% [markdown]
# ### Is it good?
#
# That depends on what it is compared with. Here is a method without any network: count how often each letter occurs
# in each language, and take the language whose counts fit best (naive Bayes). Then the same with **pairs** of neighbouring
# letters.


# %%
def groups(name, n):
    """All runs of n neighbouring symbols, each as one number."""
    ids = [alphabet.end, *alphabet.encode(name)]
    runs = [ids[i : i + n] for i in range(len(ids) - n + 1)]
    return [sum(symbol * len(alphabet) ** i for i, symbol in enumerate(run)) for run in runs]


def counting(n):
    """Accuracy of naive Bayes on runs of n symbols."""
    counts = torch.full((languages, len(alphabet) ** n), 0.3)  # nothing is impossible
    for name, language in people.train:
        for run in groups(name, n):
            counts[language_of[language], run] += 1
    fits = torch.log(counts / counts.sum(1, keepdim=True))
    guesses = torch.stack([fits[:, groups(name, n)].sum(1).argmax() for name, _ in people.test])
    return (guesses == test[2]).float().mean().item()


letter_accuracy, pair_accuracy = counting(1), counting(2)
print(
    f"single letters {letter_accuracy:.1%}, pairs {pair_accuracy:.1%}, network {reader_accuracy:.1%}"
)
outcome("counting pairs beats the network", pair_accuracy > reader_accuracy, needs="laptop")
outcome(
    "the network beats counting letters",
    reader_accuracy > letter_accuracy + 0.1,
    needs="laptop",
)

# %% [markdown]
# Counting pairs wins. The network has to find out from 5,606 names what the counter is told: that neighbours matter.
# Simple methods are hard to beat when data are few, so always compare with one. But this counter looks back by one letter
# and no further. It could not read the strip of handwriting below, nor pronounce a word.

# %% [markdown]
# ### Watch it read
#
# After each letter we can already ask for the language. Choose a name, move $t$. Past the last letter comes the end
# symbol.

# %%
watched = ["kowalczyk", "mcdonnell", "nieminen", "ferrari", "lundqvist"]


def reading(name, t):
    t = min(t, len(name) + 1)  # the last step is the end symbol
    ids = torch.tensor(alphabet.encode(name))[:t, None]
    with torch.no_grad():
        p = torch.softmax(language_logits(reader, ids, torch.tensor([t])), -1)[0]
    title = f"after “{name[:t]}”" + (" and the end symbol" if t > len(name) else "")
    return draw.probabilities(people.symbols, p, title)


explore(
    reading,
    "Bars: the probability of each language after the first {t} symbols of {name}.",
    name=watched,
    t=(1, 10, 10),
)

# %%
name = "kowalczyk"
ids = torch.tensor(alphabet.encode(name))[:, None]
with torch.no_grad():
    opinions = reader(tasks.one_hot(ids, len(alphabet)))[0][:, 0].argmax(-1)
for t, i in enumerate(opinions, 1):
    print(f"{name[:t] + ('.' if t > len(name) else ''):<11} {people.symbols[i]}")

# %% [markdown]
# On the way its opinion jumps. Only the answer after the end symbol was trained; what it says before is a by-product.

# %% [markdown]
# ## One-to-many: inventing names
#
# The other way round: a language goes in, once, at the first step. Letters come out until the network says
# «end». At every further step its input is the letter that it has just said.
#
# The output is a distribution over letters. To always take the likeliest one would give the same name each time.
# So we **sample**. A *temperature* $\tau$ says how daring we are: logits are divided by it before the softmax,
#
# $$p_k = \frac{e^{z_k/\tau}}{\sum_j e^{z_j/\tau}}.$$
#
# To draw from $p$, lay the probabilities end to end on a ruler from 0 to 1 and see where a random number $u$
# falls.

# %% [markdown]
# > **Exercise 7 · `rnn.sample`** · medium · 15 minutes · 15 points
# >
# > For each row return the smallest class $k$ with $p_0 + \dots + p_k > u$.
# >
# > Rounding may leave the last mark a hair below 1; the answer must be a class all the same.
# >
# > *Hot and cold are swapped?* Divide by the temperature; do not multiply.


# %%
@exercise("rnn.sample", points=15)
def sample(logits, temperature, u):
    """Draw one class per row.

    logits: (B, K), temperature: number > 0, u: (B,) in [0, 1) -> (B,) long
    """
    ### BEGIN SOLUTION
    marks = torch.softmax(logits / temperature, dim=1).cumsum(dim=1)
    return (marks <= u[:, None]).sum(dim=1).clamp(max=logits.shape[1] - 1)
    ### END SOLUTION


# %%
check("rnn.sample")

# %% tags=["expect"]
three = torch.tensor([[2.0, 1.0, 0.0]]).expand(3000, 3)
u = torch.rand(3000, generator=torch.Generator().manual_seed(0))
for temperature in (0.2, 1.0, 5.0):
    share = torch.bincount(sample(three, temperature, u), minlength=3) / 3000
    print(f"temperature {temperature}: {[f'{s:.2f}' for s in share]}")

# %% [markdown]
# Cold: nearly always the first class. Hot: the classes come closer to each other.

# %% [markdown]
# ### Teacher forcing
#
# In training we know the right name. If the network says a wrong letter, we do not want it to go on from there
# and see nonsense for the rest of the name. So at each step it reads the **right** letter of the step before. This is
# called *teacher forcing*.

# %% [markdown]
# > **Exercise 8 · `rnn.teacher`** · easy · 10 minutes · 10 points
# >
# > Make the inputs from the targets: `start`, then the targets one step late.
# >
# > *The loss falls to nearly 0 within a few steps?* Then the network sees the very letter it has to predict.


# %%
@exercise("rnn.teacher", points=10)
def teacher_inputs(targets, start):
    """targets: (T, B) long, start: id -> (T, B) long, what the network reads at each step"""
    ### BEGIN SOLUTION
    first_row = torch.full_like(targets[:1], start)
    return torch.cat([first_row, targets[:-1]])
    ### END SOLUTION


# %%
check("rnn.teacher")

# %% tags=["expect"]
targets = torch.tensor(alphabet.encode("ferrari"))[:, None]
letters = teacher_inputs(targets, alphabet.end)[:, 0]
shown = [*alphabet.symbols, "."]
print("targets:", " ".join(shown[i] for i in targets[:, 0]))
print("inputs: ", " ".join(shown[i] for i in letters))

# %% [markdown]
# The full stop stands for the «end» symbol, which also means «nothing said yet».
#
# The input of the network is a letter *or* a language: 27 + 16 numbers. The language comes at the first step
# only.


# %%
def writer_inputs(letters, language=None):
    """(T, B) -> one-hot (T, B, 27 + languages); `language` (B,) replaces the first letter."""
    x = tasks.one_hot(letters, len(alphabet) + languages)
    if language is not None:
        x[0] = F.one_hot(language + len(alphabet), len(alphabet) + languages)
    return x


seed(0)
writer = RNN(len(alphabet) + languages, 128, len(alphabet))


def writer_loss(index):
    ids, lengths, language = (d[..., index] for d in train)
    ids = ids[: lengths.max()]
    mask = ids != tasks.PAD
    logits, _ = writer(writer_inputs(teacher_inputs(ids, alphabet.end), language))
    return sequence_loss(logits, ids.clamp(min=0), mask)


steps = budget(quick=100, laptop=4000, gpu=4000)
fit("names", writer.parameters(), writer_loss, len(people.train), steps)


# %%
@torch.no_grad()
def invent(language, temperature, generator, longest=16):
    """language: (B,) -> B new names"""
    letters, h, said = torch.full((1, len(language)), alphabet.end), None, []
    for t in range(longest):
        x = writer_inputs(letters, language if t == 0 else None)
        logits, states = writer(x, h)
        h = states[-1]
        letters = sample(
            logits[0], temperature, torch.rand(len(language), generator=generator)
        )[None]
        said.append(letters)
    return ["".join(alphabet.decode(ids)) for ids in torch.cat(said).T]


draws = torch.Generator().manual_seed(0)
for language in ("Finnish", "Irish", "Italian", "Polish", "Zulu"):
    print(f"{language:>8}:", *invent(torch.full((6,), language_of[language]), 0.5, draws))

# %% [markdown]
# Are they any good? Two measures. Are they **new**, or learned by heart? And does the *reader* from above take
# them for the language that was asked for? It was trained on its own, and it is itself right on only some of the real names.

# %%
asked = torch.arange(languages).repeat(60)
known = {name for name, _ in people.train}
new, recognised = {}, {}
for temperature in (0.3, 0.5, 1.0):
    invented = invent(asked, temperature, draws)
    new[temperature] = sum(name not in known for name in invented) / len(invented)
    labelled = [
        (name, people.symbols[i]) for name, i in zip(invented, asked.tolist(), strict=True)
    ]
    recognised[temperature] = accuracy(labelled)
    print(
        f"temperature {temperature}: {new[temperature]:.0%} new, "
        f"{recognised[temperature]:.0%} recognised"
    )
print(
    f"by chance {1 / languages:.0%} would be recognised; of the real names it was {reader_accuracy:.0%}"
)
outcome("at any temperature more than 80 % are new", min(new.values()) > 0.8, needs="laptop")
outcome("at 0.5 more than 30 % are recognised", recognised[0.5] > 0.3, needs="laptop")
outcome(
    "colder names are recognised more often",
    recognised[0.3] > recognised[1.0],
    needs="laptop",
)

# %% [markdown]
# Cold, the network invents typical names, and those are recognised as often as real ones, or more. Hot, it is more
# daring, and more often mistaken. Most are new at any temperature.

# %% [markdown]
# ### Temperature
#
# How does the first letter depend on language and temperature?


# %%
def first_letter(language, temperature):
    with torch.no_grad():
        i = torch.tensor([language_of[language]])
        logits = writer(writer_inputs(torch.full((1, 1), alphabet.end), i))[0][0, 0]
    p = torch.softmax(logits / temperature, -1)
    return draw.probabilities(
        [*alphabet.symbols, "end"], p, f"{language}, temperature {temperature:.1f}", top=10
    )


explore(
    first_letter,
    "Bars: the ten likeliest first letters of a name in {language} at temperature "
    "{temperature:.1f}.",
    language=["Finnish", "Irish", "Polish", "Zulu"],
    temperature=(0.1, 3.0, 1.0, 0.1),
)

# %% [markdown]
# Cold, one letter takes all. Hot, the bars even out.

# %% [markdown]
# ## Many-to-many in step: reading a strip
#
# Frame-wise video classification gives a label to every frame, at once. Here is a tiny film of that kind: a strip
# of handwritten digits that passes behind a slit, **one column of 8 pixels per step**. At each step the network
# says which digit it is looking at.

# %%
strips = seed(0)
columns, column_labels, strip_lengths = tasks.digit_strips(
    test_images, test_labels, 500, (2, 6), strips
)
print("columns", tuple(columns.shape), "labels", tuple(column_labels.shape))

scanner = RNN(8, 64, 10)
glance = nn.Sequential(
    nn.Linear(8, 64), nn.Tanh(), nn.Linear(64, 10)
)  # sees one column, remembers nothing


def strip_loss(net):
    def loss_of(index):
        x, y, _ = tasks.digit_strips(images, labels, 64, (2, 6), strips)
        # clamp: the padding's id has to be a class, though the mask drops it
        return sequence_loss(net(x), y.clamp(min=0), y != tasks.PAD) / len(x)  # per column

    return loss_of


steps = budget(quick=50, laptop=2500, gpu=2500)
sees = strip_loss(lambda x: scanner(x)[0])
fit("with memory", scanner.parameters(), sees, len(images), steps, lr=8e-3)
fit("without", glance.parameters(), strip_loss(glance), len(images), steps, lr=8e-3)


# %%
def by_column(net):
    """Share of right answers at each of the 8 columns of a digit."""
    with torch.no_grad():
        right = (net(columns).argmax(-1) == column_labels).float()
    real = column_labels != tasks.PAD
    place = torch.arange(len(columns)) % 8
    return [right[place == c][real[place == c]].mean().item() for c in range(8)]


with_memory, without = by_column(lambda x: scanner(x)[0]), by_column(glance)
show(
    draw.curves(
        {"with memory": with_memory, "without": without},
        "column of the digit",
        "right answers",
        ("guessing", 0.1),
        range(1, 9),
    ),
    f"Share of right answers against the column, 1 to 8. With memory it goes from "
    f"{with_memory[0]:.0%} to {with_memory[-1]:.0%}; without memory it is {without[0]:.0%} at "
    f"first, at best {max(without):.0%}, and {without[-1]:.0%} at the end.",
)
outcome("at the last column memory knows the digit", with_memory[-1] > 0.8, needs="laptop")
outcome(
    "without memory it is nearly guessing",
    with_memory[-1] > without[-1] + 0.4,
    needs="laptop",
)

# %% [markdown]
# At the first column of a digit nobody can know it: the margin is white. Then the network with memory gains with nearly every
# column. The last one is white again, so without memory one is back at guessing; with it the answer stands. And at
# each new digit the network has to *forget* the old one.

# %%
with torch.no_grad():
    one_strip = scanner(columns[:32, :1])[0].argmax(-1)[:, 0]
length = int(strip_lengths[0].clamp(max=32))
show(
    draw.strip(
        columns[:length, 0],
        column_labels[:length, 0].tolist(),
        one_strip[:length].tolist(),
        pictures.symbols,
    ),
    f"A strip of {length // 8} handwritten digits. Under each of its {length} columns the "
    f"true digit and the network's answer; "
    f"{(one_strip[:length] == column_labels[:length, 0]).float().mean():.0%} of them agree. "
    f"Wrong answers are boxed.",
)

# %% [markdown]
# Where are the wrong answers? Most stand at the left of a digit, before enough of it has been seen.

# %% [markdown]
# ## Encoder and decoder: how is it pronounced?
#
# Last, a sequence into a sequence of another length: English spelling into sounds, or *phonemes*. *knight* has six letters and
# three sounds, written `N AY T` (`AY` is the sound in *my*), and the first letter says nothing until the second has been read. So one network, the **encoder**, reads
# the whole word; a second one, the **decoder**, starts from its last state and speaks.

# %%
speech = tasks.spellings()
phonemes = tasks.Alphabet(speech.symbols)
print(
    len(speech.train),
    "words to learn from,",
    len(speech.test),
    "to be tested on,",
    len(speech.symbols),
    "phonemes",
)
for spelled, said in speech.train[::3000]:
    print(f"{spelled:>9}  {' '.join(said)}")

# %% [markdown]
# **Another belief.** The encoder reads the whole word before the decoder says anything. So it should not matter
# whether it reads the word forwards or backwards. Or should it? We train both.


# %%
def encode_words(rows, backwards):
    letters, letter_count = tasks.pad(
        [alphabet.encode(w[::-1] if backwards else w) for w, _ in rows]
    )
    sounds, sound_count = tasks.pad([phonemes.encode(said) for _, said in rows])
    return letters, letter_count, sounds, sound_count


class Speller(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.encoder = RNN(len(alphabet), hidden, 1)  # its outputs are not used
        self.decoder = RNN(len(phonemes), hidden, len(phonemes))

    def encode(self, letters, letter_count):
        return last_state(self.encoder(tasks.one_hot(letters, len(alphabet)))[1], letter_count)

    def forward(self, letters, letter_count, sounds):
        said_before = teacher_inputs(sounds, phonemes.end)
        return self.decoder(
            tasks.one_hot(said_before, len(phonemes)), self.encode(letters, letter_count)
        )[0]

    @torch.no_grad()
    def say(self, letters, letter_count, longest=10):
        h = self.encode(letters, letter_count)
        sound, said = torch.full((1, letters.shape[1]), phonemes.end), []
        for _ in range(longest):
            logits, states = self.decoder(tasks.one_hot(sound, len(phonemes)), h)
            h, sound = states[-1], logits.argmax(-1)
            said.append(sound)
        return [phonemes.decode(ids) for ids in torch.cat(said).T]


# %%
def train_speller(backwards):
    seed(0)
    data = encode_words(speech.train, backwards)
    net = Speller(budget(quick=128, laptop=256, gpu=256))

    def loss_of(index):
        letters, letter_count, sounds, sound_count = (d[..., index] for d in data)
        letters, sounds = letters[: letter_count.max()], sounds[: sound_count.max()]
        logits = net(letters, letter_count, sounds)
        return sequence_loss(logits, sounds.clamp(min=0), sounds != tasks.PAD)

    steps = budget(quick=40, laptop=2000, gpu=2000)
    lr = budget(quick=3e-3, laptop=2e-3, gpu=2e-3)
    name = "backwards" if backwards else "forwards"
    fit(name, net.parameters(), loss_of, len(speech.train), steps, batch=128, lr=lr)
    letters, letter_count, *_ = encode_words(speech.test, backwards)
    return net.say(letters, letter_count)


spoken = {"forwards": train_speller(False), "backwards": train_speller(True)}

# %% [markdown]
# The measure is the **phoneme error rate**: how many sounds have to be inserted, deleted or replaced, per true sound.
# For comparison, a baseline that needs no network: each letter becomes its most frequent sound.

# %%
truth = [list(said) for _, said in speech.test]
error = {order: tasks.phoneme_error_rate(said, truth) for order, said in spoken.items()}
error["letter by letter"] = tasks.phoneme_error_rate(tasks.letter_by_letter(speech), truth)
for name, rate in error.items():
    print(f"{name:>16}: {rate:.1%} of the sounds wrong")
outcome(
    "backwards beats letter by letter",
    error["backwards"] < error["letter by letter"],
    needs="laptop",
)
outcome(
    "backwards beats forwards", error["backwards"] < error["forwards"] - 0.08, needs="laptop"
)

# %%
for i in range(0, len(speech.test), len(speech.test) // 8):
    spelled, said = speech.test[i]
    print(f"{spelled:>9}: {' '.join(said):<22} network: {' '.join(spoken['backwards'][i])}")

# %% [markdown]
# After the same number of steps, reading backwards is far better. A likely reason: the first sound depends on the first letters.
# Read backwards, they come *last*, a step or two before they are needed. Read forwards, they must survive the whole word in
# the state. (The *average* way from a letter to its sound is the same; only the first sounds have it shorter, and they
# give the decoder a start.) Sutskever, Vinyals and Le found the same for translation in 2014.
#
# So a plain RNN learns easily from what is near, and with difficulty from what is far. *Why* that is so is the subject of
# notebook 2, and what to do about it that of notebook 3.

# %% [markdown]
# ## Your points

# %%
progress()

# %% [markdown]
# ## What to take away
#
# - A recurrent network is one small network, applied at every step to the input and to its own last state.
# - Its number of weights does not depend on the length of the sequence.
# - One-to-one, one-to-many, many-to-one, many-to-many: only the wiring differs.
# - Padding needs care twice: in the loss (mask) and in the read-out (last *real* step).
# - A plain RNN learns more easily from what is near in time than from what is far.
#
# ## Further reading
#
# - J. L. Elman, *Finding structure in time*, Cognitive Science 14 (1990): the network of this notebook.
# - A. Karpathy, *The unreasonable effectiveness of recurrent neural networks* (2015): the five shapes, and text that writes itself.
# - I. Sutskever, O. Vinyals, Q. Le, *Sequence to sequence learning with neural networks*, NeurIPS 2014: encoder, decoder, and reversed inputs.
# - I. Goodfellow, Y. Bengio, A. Courville, *Deep Learning* (2016), chapter 10.
# - The data and their licences: `data/README.md`.
