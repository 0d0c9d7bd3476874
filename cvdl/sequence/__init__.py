"""Chapters 01–03: recurrent networks, backpropagation through time, LSTM."""
