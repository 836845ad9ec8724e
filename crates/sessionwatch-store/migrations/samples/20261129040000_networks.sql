-- A network from which somebody logged in.
INSERT INTO login_networks (account, network, at) VALUES ('ada', '192.0.2.0/24', 1764390000000000);
