"""The experts' page: who rates which answer (assign), what they said (store), how they say it (app)."""
