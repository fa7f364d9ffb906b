"""aloe-bench's tasks and models inside other harnesses; the only modules that may import lm_eval or vlmeval."""
