import { useState, type Ref } from "react";
import styles from "./SearchField.module.css";

interface Props {
  label: string;
  /** The key that leads here. */
  hint: string;
  value: string;
  onChange: (text: string) => void;
  ref: Ref<HTMLInputElement>;
}

/** A field to search in. What is typed stays the field's own until it's left: `value` may follow as slowly as it likes. */
export function SearchField({ label, hint, value, onChange, ref }: Props) {
  const [draft, setDraft] = useState<string | null>(null);
  return (
    <label className={styles.field}>
      <kbd aria-hidden="true">{hint}</kbd>
      <input
        ref={ref}
        type="search"
        value={draft ?? value}
        placeholder={label}
        aria-label={label}
        autoComplete="off"
        spellCheck={false}
        onChange={(event) => {
          setDraft(event.target.value);
          onChange(event.target.value);
        }}
        onBlur={() => setDraft(null)}
      />
    </label>
  );
}
