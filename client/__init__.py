"""One device: the relay (Flower ClientApp), the device that trains, local training itself."""
