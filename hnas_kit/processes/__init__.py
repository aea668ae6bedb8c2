"""Several processes: that train one network together, or that compute apart."""
