SELECT s.id, s."sessionToken", s."userId", s.expires, u.id, u.name, u."xId", u."xUsername",
  CASE WHEN s.expires > NOW() THEN 'active' ELSE 'expired' END, EXTRACT(EPOCH FROM (s.expires - NOW())) / 3600
FROM sessions s LEFT JOIN users u ON s."userId" = u.id ORDER BY s.expires DESC LIMIT 100;
SELECT "sessionToken", COUNT(*), ARRAY_AGG("userId"), ARRAY_AGG(expires) FROM sessions GROUP BY "sessionToken" HAVING COUNT(*) > 1;
SELECT s.id, s."sessionToken", s."userId", s.expires FROM sessions s LEFT JOIN users u ON s."userId" = u.id WHERE u.id IS NULL;
SELECT s."userId", u.name, u."xUsername", COUNT(*) FROM sessions s JOIN users u ON s."userId" = u.id
GROUP BY s."userId", u.name, u."xUsername" HAVING COUNT(*) > 5 ORDER BY 4 DESC;
SELECT COUNT(DISTINCT s."userId"), COUNT(s.id), ROUND(COUNT(s.id)::numeric / NULLIF(COUNT(DISTINCT s."userId"), 0), 2)
FROM sessions s WHERE s.expires > NOW();
SELECT s.id, s."sessionToken", s.expires, CASE WHEN s.expires > NOW() THEN 'active' ELSE 'expired' END,
  EXTRACT(EPOCH FROM (NOW() - s.expires)) / 3600 FROM sessions s WHERE s."userId" = 123 ORDER BY s.expires DESC LIMIT 20;
SELECT CASE WHEN expires > NOW() THEN 'active' ELSE 'expired' END AS status, COUNT(*) FROM sessions GROUP BY status;
