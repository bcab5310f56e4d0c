"""A crew without processes: the worker is this process."""

from diffwright.batch.crew import Said
from diffwright.batch.job import Worker, portable


class InlineCrew:
    def __init__(self, job, out):
        self.job, self.out, self.heard = job, out, []

    def start(self, worker):
        self.heard.append(self._answer(worker, "ready", self._load))

    def give(self, worker, row):
        self.heard.append(self._answer(worker, "line", lambda: self.worker.finish(row)))

    def listen(self):
        heard, self.heard = self.heard, []
        return heard

    def close(self):
        pass

    def _load(self):
        self.worker = Worker.start(self.job, self.out, 1)
        return self.worker.prepared.model

    def _answer(self, worker, what, call):
        try:
            return Said(worker, what, call())
        except Exception as error:
            return Said(worker, "stop", portable(error))
