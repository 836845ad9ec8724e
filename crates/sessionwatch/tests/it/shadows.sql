-- Every function, aggregate and operator that is built in, once more in `public`: each fails as soon as it is executed.
DO $$
DECLARE
  f record;
  body text := 'BEGIN RAISE EXCEPTION ''code of the target was executed''; END';
BEGIN
  FOR f IN
    SELECT p.proname, pg_get_function_identity_arguments(p.oid) AS args, pg_get_function_result(p.oid) AS result
    FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.prokind = 'f'
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', f.proname, f.args, f.result, body);
    EXCEPTION WHEN OTHERS THEN
      NULL; -- internal types cannot be named
    END;
  END LOOP;
  FOR f IN
    SELECT o.oprname, NULLIF(o.oprleft, 0)::regtype AS lower_side, o.oprright::regtype AS upper_side, o.oprresult::regtype AS result
    FROM pg_operator o WHERE o.oprnamespace = 'pg_catalog'::regnamespace
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION public.shadow(%s) RETURNS %s LANGUAGE plpgsql AS %L',
        concat_ws(', ', f.lower_side::text, f.upper_side::text), f.result, body);
    EXCEPTION WHEN OTHERS THEN
      NULL; -- another operator has these types
    END;
    BEGIN
      EXECUTE format('CREATE OPERATOR public.%s (%s RIGHTARG = %s, FUNCTION = public.shadow)', f.oprname,
        COALESCE('LEFTARG = ' || f.lower_side || ',', ''), f.upper_side);
    EXCEPTION WHEN OTHERS THEN
      NULL; -- an operator of another result was first
    END;
  END LOOP;
END $$;
CREATE FUNCTION public.shadow_step(bigint) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'code of the target was executed'; END $$;
CREATE FUNCTION public.shadow_step(bigint, anyelement) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'code of the target was executed'; END $$;
CREATE AGGREGATE public.count(*) (SFUNC = public.shadow_step, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE public.count(anyelement) (SFUNC = public.shadow_step, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE public.min(anyelement) (SFUNC = public.shadow_step, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE public.max(anyelement) (SFUNC = public.shadow_step, STYPE = bigint, INITCOND = '0');
CREATE AGGREGATE public.sum(anyelement) (SFUNC = public.shadow_step, STYPE = bigint, INITCOND = '0');
CREATE DOMAIN public.text AS pg_catalog.text CHECK (public.shadow(VALUE, VALUE) IS NOT NULL);
CREATE DOMAIN public.float8 AS pg_catalog.float8 CHECK (public.shadow(VALUE, VALUE) IS NOT NULL);
CREATE VIEW public.pg_class AS SELECT 1 / 0 AS oid;
