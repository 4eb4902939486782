"""The networks: their features, recurrent bodies, output heads and losses."""
