"""The whole path in Python: a network made, scored, trained, cut, and run by four processes."""

import keras_concurrent as kc
from keras_concurrent import datasets, training

data = datasets.load("photos")
graph = kc.generate("DP", 24, seed=4)
network = kc.stage(
    graph, data.image_shape, data.classes, filters=24, channel_cap=96, separable=False, seed=4
)
print(kc.concurrency_score(kc.TaskGraph.from_architecture(network), units=4).best)
model = kc.build_model(network)
print(training.train(model, data, epochs=3).test_accuracy)
cluster = kc.Cluster.of("pi4", boards=4, link="1gbit")
bundle = kc.export_bundle(kc.TfliteFile(kc.to_tflite(model)), cluster, "bundle")
with kc.LocalBoards(bundle, cluster) as boards:
    answer = boards.client.infer(data.test_images[0])["classes"]
print(data.class_names[answer.argmax()], data.class_names[data.test_labels[0]])
